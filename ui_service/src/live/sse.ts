/** Server-sent events out of text that comes in pieces. */

export interface SseEvent {
  /** "message" when the stream names none. */
  event: string;
  data: string;
  /** The last id that the stream has given, this event's included. */
  id: string;
}

/** An event with more text than this ends the stream: nothing we know sends one. */
export const MAX_EVENT_CHARS = 8 * 1024 * 1024;

/** Takes pieces of a stream and gives whole events; the form is that of the HTML standard. */
export class SseReader {
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id: string;
  #size = 0;
  #isAfterCr = false;

  constructor(lastId = "") {
    this.#id = lastId;
  }

  /** Events that `piece` completes. Throws a `RangeError` when one grows without end. */
  push(piece: string): SseEvent[] {
    const events: SseEvent[] = [];
    let text = this.#isAfterCr && piece.startsWith("\n") ? piece.slice(1) : piece;
    if (piece) this.#isAfterCr = piece.endsWith("\r");
    text = this.#rest + text;
    const lines = text.split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.#take(line);
      if (event) events.push(event);
    }
    if (this.#size + this.#rest.length > MAX_EVENT_CHARS) throw new RangeError("An event of the stream is too long.");
    return events;
  }

  #take(line: string): SseEvent | null {
    if (line === "") return this.#finish();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "data") {
      this.#data.push(value);
      this.#size += value.length;
    }
    return null;
  }

  #finish(): SseEvent | null {
    const [event, data] = [this.#event || "message", this.#data];
    this.#event = "";
    this.#data = [];
    this.#size = 0;
    return data.length ? { event, data: data.join("\n"), id: this.#id } : null;
  }
}
