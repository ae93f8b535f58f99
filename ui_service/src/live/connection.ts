/** What is known of a connection to a stream, for those who show it. */

/** `waiting`: it broke, and is tried again in a moment. `asleep`: let go while nobody looks. */
export type ConnectionPhase = "connecting" | "live" | "waiting" | "asleep" | "ended";

export interface Connection {
  phase: ConnectionPhase;
  /** Failures in a row. */
  failures: number;
  /** Events whose kind is not known here; they are ignored. */
  unknownEvents: number;
}

export const INITIAL_CONNECTION: Connection = { phase: "connecting", failures: 0, unknownEvents: 0 };

/** A value that components can follow with `useSyncExternalStore`. */
export class Store<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  readonly get = (): T => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }
}
