"use client";

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Mail, MoveRight } from "lucide-react";
import { useMemo } from "react";

import { get } from "@/api/client";
import { keys } from "@/api/keys";
import { Badge, type Tone } from "@/components/ui/Badge";
import { SkeletonRows } from "@/components/ui/Skeleton";
import { EmptyState } from "@/components/ui/States";

import type { Story } from "../fns/runLog";
import { mergedMessages, threadOf } from "../fns/thread";
import type { MessageView } from "../types";
import { TextBlock } from "./TextBlock";

const PAGE_SIZE = 500;
const TONES: Record<MessageView["state"], Tone> = {
  unspecified: "neutral",
  pending: "warn",
  delivered: "accent",
  acknowledged: "good",
  dead_lettered: "bad",
};

/** What the roles said to each other, replies below what they answer. */
export function MessagesPanel({ runId, story }: { runId: string; story: Story }) {
  // what becomes of a message is not told; it changes as hops begin and end
  const version = `${story.messages.length}/${story.hops.length}/${story.checkpoints.length}`;
  const query = useQuery({
    queryKey: [...keys.run(runId), "messages", version],
    queryFn: ({ signal }) => get("/api/runs/{run_id}/messages", { path: { run_id: runId }, query: { page_size: PAGE_SIZE }, signal }),
    placeholderData: keepPreviousData,
  });
  const rows = useMemo(() => threadOf(mergedMessages(story.messages, query.data?.messages ?? [])), [story.messages, query.data]);
  if (!rows.length && query.isPending) return <SkeletonRows rows={4} label="Loading messages" />;
  if (!rows.length) {
    return (
      <EmptyState icon={Mail} title="No messages">
        Roles of a workflow write to each other, such as a reviewer to a coder.
      </EmptyState>
    );
  }
  return (
    <ol className="grid gap-3 p-4">
      {rows.map(({ message, depth }) => (
        <li key={message.message_id} className="min-w-0" style={{ marginLeft: `min(${depth * 1.5}rem, 30%)` }}>
          <MessageCard message={message} />
        </li>
      ))}
    </ol>
  );
}

function MessageCard({ message }: { message: MessageView }) {
  return (
    <article aria-label={`From ${message.sender_role} to ${message.recipient_role}`} className="grid gap-2 rounded-md border border-line p-4">
      <p className="flex flex-wrap items-center gap-2 text-sm">
        <span className="font-semibold break-all">{message.sender_role}</span>
        <MoveRight aria-hidden className="size-4 text-muted" />
        <span className="font-semibold break-all">{message.recipient_role}</span>
        <Badge tone={TONES[message.state]}>{message.state.replaceAll("_", " ")}</Badge>
        <span className="ml-auto text-muted">
          {message.hop_index >= 0 && `hop ${message.hop_index + 1} · `}
          {message.create_time && <time dateTime={message.create_time}>{new Date(message.create_time).toLocaleTimeString()}</time>}
        </span>
      </p>
      {message.dead_letter_reason && <p className="text-sm break-words text-bad">{message.dead_letter_reason}</p>}
      <TextBlock value={message.payload} label="Payload" />
    </article>
  );
}
