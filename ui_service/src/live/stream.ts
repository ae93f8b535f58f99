/** Follows one stream of server-sent events through the deaths of whoever sends it. */
import { backoffMs } from "./backoff";
import { type Connection, INITIAL_CONNECTION, Store } from "./connection";
import { type SseEvent, SseReader } from "./sse";

/** Control sends a comment every 15 s: a line that is silent for longer is dead. */
export const SILENCE_MS = 40_000;
/** A page that nobody looks at lets its stream go; browsers allow six connections to a server, over all tabs. */
export const HIDDEN_MS = 20_000;

export interface StreamOptions {
  url: string;
  /** Go on after this id; empty begins as the server likes. */
  lastEventId?: string;
  /** Return true when nothing more will come; false when the kind is unknown here. */
  onEvent: (event: SseEvent) => StreamVerdict;
  /** An answer that is no stream; return true to give up. */
  onRefusal?: (status: number, body: string) => boolean;
  fetch?: typeof fetch;
  random?: () => number;
}

/** What becomes of the stream after an event: go on, be over, come again at once, or begin from the start. */
export type StreamVerdict = "taken" | "unknown" | "over" | "again" | "restart";

export class EventStream {
  readonly connection = new Store<Connection>(INITIAL_CONNECTION);
  #lastEventId: string;
  #attempt: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOpen = false;

  constructor(private readonly options: StreamOptions) {
    this.#lastEventId = options.lastEventId ?? "";
  }

  /** Begin to follow, or go on after `sleep`. */
  open(): void {
    if (this.#isOpen || this.connection.get().phase === "ended") return;
    this.#isOpen = true;
    void this.#connect();
  }

  /** Let go; `open` goes on where this stopped. */
  sleep(): void {
    this.#letGo("asleep");
  }

  /** Let go for ever. */
  close(): void {
    this.#letGo("ended");
  }

  #letGo(phase: "asleep" | "ended"): void {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    this.#attempt?.abort();
    this.#say({ phase });
  }

  async #connect(): Promise<void> {
    const attempt = new AbortController();
    this.#attempt = attempt;
    if (this.connection.get().failures === 0) this.#say({ phase: "connecting" });
    try {
      await this.#read(attempt);
    } catch {
      // whatever broke the line: it is tried again
    }
    if (attempt !== this.#attempt || !this.#isOpen) return;
    attempt.abort();
    this.#tryAgain();
  }

  #tryAgain(): void {
    const failures = this.connection.get().failures + 1;
    this.#say({ phase: "waiting", failures });
    this.#timer = setTimeout(() => void this.#connect(), backoffMs(failures, (this.options.random ?? Math.random)()));
  }

  async #read(attempt: AbortController): Promise<void> {
    const watch = new Watchdog(SILENCE_MS, () => attempt.abort());
    try {
      const answer = await (this.options.fetch ?? fetch)(this.options.url, {
        headers: {
          accept: "text/event-stream",
          ...(this.#lastEventId ? { "last-event-id": this.#lastEventId } : {}),
        },
        cache: "no-store",
        signal: attempt.signal,
      });
      if (!answer.ok || !answer.body) {
        if (this.options.onRefusal?.(answer.status, await answer.text())) this.#letGo("ended");
        return;
      }
      const reader = new SseReader(this.#lastEventId);
      const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await pieces.read();
        if (done || attempt.signal.aborted) return;
        watch.feed();
        for (const event of reader.push(value)) if (this.#take(event, attempt)) return;
      }
    } finally {
      watch.stop();
    }
  }

  /** True when this attempt is done with. */
  #take(event: SseEvent, attempt: AbortController): boolean {
    if (attempt.signal.aborted) return true;
    this.#lastEventId = event.id;
    const before = this.connection.get();
    if (before.phase !== "live" || before.failures) this.#say({ phase: "live", failures: 0 });
    const verdict = this.options.onEvent(event);
    if (verdict === "unknown") this.#say({ unknownEvents: this.connection.get().unknownEvents + 1 });
    if (verdict === "over") this.#letGo("ended");
    if (verdict === "restart") this.#lastEventId = "";
    return verdict !== "taken" && verdict !== "unknown";
  }

  #say(change: Partial<Connection>): void {
    this.connection.set({ ...this.connection.get(), ...change });
  }
}

/** Calls back when it was not fed for so long. */
class Watchdog {
  #timer: ReturnType<typeof setTimeout>;

  constructor(
    private readonly patience: number,
    private readonly onSilence: () => void,
  ) {
    this.#timer = setTimeout(onSilence, patience);
  }

  feed(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.onSilence, this.patience);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Keeps a stream open while the page is looked at; returns what ends that. */
export function followWhileVisible(stream: EventStream, page: Document): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  function look() {
    clearTimeout(timer);
    if (page.visibilityState === "visible") stream.open();
    else timer = setTimeout(() => stream.sleep(), HIDDEN_MS);
  }
  stream.open();
  page.addEventListener("visibilitychange", look);
  return () => {
    clearTimeout(timer);
    page.removeEventListener("visibilitychange", look);
    stream.sleep(); // not for ever: React may mount a component again
  };
}
