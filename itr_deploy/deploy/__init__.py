"""What the verbs of the command line do, as functions: import them from `itr_deploy`."""
