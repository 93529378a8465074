"""The routes: what is asked, what is computed for it, what is answered."""
