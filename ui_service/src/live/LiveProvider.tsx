"use client";

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useState, useSyncExternalStore } from "react";

import { keys } from "@/api/keys";
import type { ControlSse } from "@/api/schema";

import type { Connection } from "./connection";
import { type ControlEventName, type ControlPayload, readControlEvent } from "./controlEvents";
import { EventStream, followWhileVisible, type StreamVerdict } from "./stream";

type Listener = (event: ControlSse) => void;

/** Control's event stream, one for all that a page shows. */
export class ControlLive {
  readonly stream: EventStream;
  readonly #listeners = new Set<Listener>();

  constructor(private readonly client: QueryClient) {
    this.stream = new EventStream({
      url: "/api/events",
      onEvent: (raw) => {
        const event = readControlEvent(raw);
        return event ? this.#take(event) : "unknown";
      },
    });
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #take(event: ControlSse): StreamVerdict {
    // what was fetched before the stream stood, or before a gap in it, may be old
    if (event.event === "ready" || event.event === "reset") void this.client.invalidateQueries();
    if (event.event === "mode_changed") this.client.setQueryData(keys.mode, event.data);
    for (const listener of [...this.#listeners]) listener(event);
    return event.event === "end" ? "again" : "taken";
  }
}

const Context = createContext<ControlLive | null>(null);

export function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [live] = useState(() => new ControlLive(client));
  useEffect(() => followWhileVisible(live.stream, document), [live]);
  return <Context value={live}>{children}</Context>;
}

function useLive(): ControlLive {
  const live = useContext(Context);
  if (live === null) throw new Error("LiveProvider is missing.");
  return live;
}

/** How the connection to control's events is. */
export function useConnection(): Connection {
  const { connection } = useLive().stream;
  return useSyncExternalStore(connection.subscribe, connection.get, connection.get);
}

/** Hears of each event with this name while the component is there. `handle` should be stable. */
export function useControlEvent<N extends ControlEventName>(name: N, handle: (data: ControlPayload<N>) => void): void {
  const live = useLive();
  useEffect(
    () => live.listen((event) => event.event === name && handle(event.data as ControlPayload<N>)),
    [live, name, handle],
  );
}
