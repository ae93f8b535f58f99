/** Why a request to control failed, in the words of whoever failed. */

export interface FailureFacts {
  status: number;
  /** A stable name out of control's `ErrorReason`, or one of ours. */
  reason: string;
  message: string;
  remedy?: string;
  metadata?: Record<string, string>;
}

export class ApiFailure extends Error {
  readonly status: number;
  readonly reason: string;
  readonly remedy: string;
  readonly metadata: Record<string, string>;

  constructor(facts: FailureFacts) {
    super(facts.message);
    this.name = "ApiFailure";
    this.status = facts.status;
    this.reason = facts.reason;
    this.remedy = facts.remedy ?? "";
    this.metadata = facts.metadata ?? {};
  }

  /** Whether the thing asked for is not there, as opposed to out of reach. */
  get isNotFound(): boolean {
    return this.status === 404;
  }

  /** Whether asking again later can help. */
  get isPassing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** What was thrown, as a failure. */
  static from(error: unknown): ApiFailure {
    if (error instanceof ApiFailure) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new ApiFailure({ status: -1, reason: "UNFORESEEN", message: `Something unforeseen happened: ${message}` });
  }

  /** An answer that is no success, whatever its body is. */
  static of(status: number, body: string): ApiFailure {
    return new ApiFailure({ status, ...(readFacts(body) ?? unreadable(status)) });
  }
}

function unreadable(status: number): Omit<FailureFacts, "status"> {
  return { reason: "UNREADABLE", message: `The answer has status ${status} and nothing that can be read.` };
}

function readFacts(body: string): Omit<FailureFacts, "status"> | null {
  try {
    const found: unknown = JSON.parse(body);
    if (typeof found !== "object" || found === null) return null;
    const { reason, message, remedy, metadata } = found as Record<string, unknown>;
    if (typeof reason !== "string" || typeof message !== "string") return null;
    return {
      reason,
      message,
      remedy: typeof remedy === "string" ? remedy : "",
      metadata: typeof metadata === "object" && metadata !== null ? (metadata as Record<string, string>) : {},
    };
  } catch {
    return null;
  }
}
