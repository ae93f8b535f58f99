"use client";

import { useEffect, useMemo, useSyncExternalStore } from "react";

import { type Connection, INITIAL_CONNECTION, Store } from "./connection";
import { NO_FEED, type RunFeed, takeRefusal, takeRunEvent } from "./runEvents";
import { EventStream, followWhileVisible } from "./stream";

/** A run as its stream tells it. */
class RunLive {
  readonly feed = new Store<RunFeed>(NO_FEED);
  readonly stream: EventStream;
  /** What has arrived and was not shown yet: events of one moment are shown together. */
  #arrived: RunFeed = NO_FEED;
  #isTelling = false;

  constructor(runId: string) {
    this.stream = new EventStream({
      url: `/api/runs/${encodeURIComponent(runId)}/events`,
      onEvent: (raw) => {
        const [next, verdict] = takeRunEvent(this.#arrived, raw);
        this.#tell(next);
        return verdict;
      },
      onRefusal: (status, body) => {
        const [next, isFinal] = takeRefusal(this.#arrived, status, body);
        this.#tell(next);
        return isFinal;
      },
    });
  }

  #tell(next: RunFeed): void {
    this.#arrived = next;
    if (this.#isTelling) return;
    this.#isTelling = true;
    queueMicrotask(() => {
      this.#isTelling = false;
      this.feed.set(this.#arrived);
    });
  }
}

const NONE = { feed: new Store<RunFeed>(NO_FEED), connection: new Store<Connection>(INITIAL_CONNECTION) };

/** Follow a run's events, the past ones first; null follows nothing. */
export function useRunEvents(runId: string | null): { feed: RunFeed; connection: Connection } {
  const live = useMemo(() => (runId === null ? null : new RunLive(runId)), [runId]);
  useEffect(() => (live ? followWhileVisible(live.stream, document) : undefined), [live]);
  const { subscribe, get } = live?.feed ?? NONE.feed;
  const connection = live?.stream.connection ?? NONE.connection;
  return {
    feed: useSyncExternalStore(subscribe, get, () => NO_FEED),
    connection: useSyncExternalStore(connection.subscribe, connection.get, () => INITIAL_CONNECTION),
  };
}
