// Which word or region is looked at: one is pinned, and what is pointed at comes before it.

export class Choice {
  #pinned = null;
  #pointed = null;
  #changed;

  /** @param changed Called with what is looked at now, and what is pinned; null for none. */
  constructor(changed) {
    this.#changed = changed;
  }

  get pinned() {
    return this.#pinned;
  }

  /** Keep something; what is kept already is let go. */
  pin(one) {
    this.#pinned = same(this.#pinned, one) ? null : one;
    this.#pointed = null;
    this.tell();
  }

  /** Look at something as long as it is pointed at. */
  point(one) {
    if (same(this.#pointed, one)) return;
    this.#pointed = one;
    this.tell();
  }

  tell() {
    this.#changed(this.#pointed ?? this.#pinned, this.#pinned);
  }

  /** Let an element choose: by pointer, by focus, and for good by a click or Enter. */
  by(target, one) {
    const on = (event, handle) => target.addEventListener(event, handle);
    on("pointerenter", ({ pointerType }) => pointerType === "mouse" && this.point(one));
    on("pointerleave", () => this.point(null));
    on("focus", () => target.matches(":focus-visible") && this.point(one));
    on("blur", () => this.point(null));
    on("click", () => this.pin(one));
  }
}

const same = (one, other) => one?.word === other?.word && one?.region === other?.region;
