/** Messages of a run as a conversation: replies below what they answer. Pure; each message once, whatever it replies to. */
import type { MessageView } from "../types";

export interface ThreadRow<Item extends MessageView> {
  readonly message: Item;
  readonly depth: number;
}

export const MAX_INDENT = 6;

export function threadOf<Item extends MessageView>(messages: readonly Item[]): ThreadRow<Item>[] {
  const byId = new Map(messages.map((message) => [message.message_id, message]));
  const replies = new Map<string, Item[]>();
  const tops: Item[] = [];
  for (const message of byId.values()) {
    if (!byId.has(message.in_reply_to)) tops.push(message);
    else if (replies.get(message.in_reply_to)?.push(message) === undefined) replies.set(message.in_reply_to, [message]);
  }
  const rows: ThreadRow<Item>[] = [];
  const placed = new Set<string>();
  // those that are left after the first round answer each other in a circle
  for (const top of [...tops, ...byId.values()]) {
    const todo: ThreadRow<Item>[] = [{ message: top, depth: 0 }];
    for (let row = todo.pop(); row; row = todo.pop()) {
      if (placed.has(row.message.message_id)) continue;
      placed.add(row.message.message_id);
      rows.push(row);
      const depth = Math.min(row.depth + 1, MAX_INDENT);
      for (const message of [...(replies.get(row.message.message_id) ?? [])].reverse()) todo.push({ message, depth });
    }
  }
  return rows;
}

/** Messages as events told them, with what has become of them since, in the order they were sent. */
export function mergedMessages(told: readonly MessageView[], listed: readonly MessageView[]): MessageView[] {
  const newest = new Map([...told, ...listed].map((message) => [message.message_id, message]));
  return [...newest.values()].sort((a, b) => Date.parse(a.create_time ?? "") - Date.parse(b.create_time ?? "") || a.sequence - b.sequence);
}
