// Chance that can be repeated: the same seed, the same draws (mulberry32).

export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** From 0 up to 1. */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = this.state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  chance(of) {
    return this.next() < of;
  }

  below(number) {
    return Math.floor(this.next() * number);
  }

  pick(list) {
    return list[this.below(list.length)];
  }
}
