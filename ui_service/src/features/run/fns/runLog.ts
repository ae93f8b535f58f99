/**
 * What a run's events come to. Pure: events may come twice and out of order, the result depends on their numbers only.
 */
import type {
  ArtifactView,
  CheckpointView,
  CitationView,
  DecisionView,
  MessageView,
  QuestionView,
  RecommendationView,
  RunErrorView,
  RunEventView,
  RunView,
  UsageView,
} from "../types";

interface Moment {
  readonly sequence: number;
  readonly time: string;
  readonly spanId: string;
}

export interface Recommended extends Moment, RecommendationView {}

export interface Decided extends Moment, DecisionView {
  /** What the router said before; null when it had said nothing yet. */
  readonly recommendation: RecommendationView | null;
}

export interface ToolUse extends Moment {
  readonly id: string;
  readonly name: string;
  readonly arguments: Record<string, unknown>;
  /** Null while it works. */
  readonly content: string | null;
  readonly isError: boolean;
}

export interface Text {
  readonly text: string;
  readonly attempt: number;
}

export interface Hop extends Moment {
  readonly index: number;
  readonly capability: string;
  readonly role: string;
  readonly task: string;
  readonly address: string;
  /** How often it was begun; more than once after a crash. */
  readonly begunCount: number;
  readonly endTime: string | null;
  readonly outcome: string;
  readonly error: RunErrorView | null;
  readonly durationMs: number | null;
  readonly usage: UsageView | null;
  readonly isReplayed: boolean;
  readonly text: Text;
  readonly tools: readonly ToolUse[];
  readonly artifacts: readonly ArtifactView[];
  readonly citations: readonly CitationView[];
}

export type Message = Omit<Moment, "sequence"> & MessageView;

export interface AskedQuestion extends Moment, QuestionView {
  readonly isAnswered: boolean;
  readonly answer: unknown;
}

export interface Resumed extends Moment {
  readonly epoch: number;
  readonly attempt: number;
  readonly checkpointId: string;
  readonly cause: string;
}

export interface Intervention extends Moment {
  readonly id: string;
  readonly actor: string;
  readonly action: string;
  readonly reason: string;
  readonly before: Record<string, unknown>;
  readonly after: Record<string, unknown>;
}

export interface Story {
  /** The run as the newest `state_changed` has it. */
  readonly run: RunView | null;
  readonly recommendations: readonly Recommended[];
  readonly decisions: readonly Decided[];
  readonly hops: readonly Hop[];
  readonly answer: Text;
  readonly messages: readonly Message[];
  readonly checkpoints: readonly (Moment & CheckpointView)[];
  readonly questions: readonly AskedQuestion[];
  readonly resumes: readonly Resumed[];
  readonly interventions: readonly Intervention[];
  readonly citations: readonly CitationView[];
  readonly cycle: { readonly current: number; readonly max: number; readonly hasUnresolvedReview: boolean } | null;
  /** How many events of each type that is not known here came. */
  readonly unknown: Readonly<Record<string, number>>;
}

export interface RunLog {
  /** By number, each once. */
  readonly events: readonly RunEventView[];
  readonly story: Story;
}

const NO_TEXT: Text = { text: "", attempt: 0 };
const EMPTY: Story = {
  run: null,
  recommendations: [],
  decisions: [],
  hops: [],
  answer: NO_TEXT,
  messages: [],
  checkpoints: [],
  questions: [],
  resumes: [],
  interventions: [],
  citations: [],
  cycle: null,
  unknown: {},
};

export const EMPTY_LOG: RunLog = { events: [], story: EMPTY };

/** Take events in. Those that follow the newest are added; one that comes late makes the story be told anew. */
export function addEvents(log: RunLog, incoming: readonly RunEventView[]): RunLog {
  const known = new Set<number>();
  let newest = log.events.at(-1)?.sequence ?? 0;
  if (incoming.some((event) => event.sequence <= newest)) for (const event of log.events) known.add(event.sequence);
  const fresh = incoming.filter((event) => {
    if (known.has(event.sequence)) return false;
    known.add(event.sequence);
    return true;
  });
  if (!fresh.length) return log;
  let isInOrder = true;
  for (const { sequence } of fresh) {
    isInOrder &&= sequence > newest;
    newest = sequence;
  }
  if (isInOrder) return { events: [...log.events, ...fresh], story: fresh.reduce(told, log.story) };
  const events = [...log.events, ...fresh].sort((a, b) => a.sequence - b.sequence);
  return { events, story: events.reduce(told, EMPTY) };
}

function told(story: Story, event: RunEventView): Story {
  const at: Moment = { sequence: event.sequence, time: event.create_time, spanId: event.span_id };
  switch (event.type) {
    case "state_changed":
      return { ...story, run: event.payload.run };
    case "route_recommended":
      return { ...story, recommendations: [...story.recommendations, { ...at, ...event.payload.recommendation }] };
    case "decision_made": {
      const recommendation = story.recommendations.at(-1) ?? null;
      return { ...story, decisions: [...story.decisions, { ...at, ...event.payload.decision, recommendation }] };
    }
    case "hop_started":
    case "hop_ended":
    case "tool_called":
    case "tool_returned":
    case "artifact_made":
      return inHop(story, event.payload.hop_index, (hop) => toldOfHop(hop, event, at), at);
    case "text_produced":
      return toldText(story, event.payload, at);
    case "citation_found": {
      const { citation, hop_index } = event.payload;
      const found = { ...story, citations: withCitation(story.citations, citation) };
      if (hop_index < 0) return found;
      return inHop(found, hop_index, (hop) => ({ ...hop, citations: withCitation(hop.citations, citation) }), at);
    }
    case "message_sent":
      return { ...story, messages: replaced(story.messages, { ...at, ...event.payload.message }, "message_id") };
    case "checkpoint_saved":
      return { ...story, checkpoints: replaced(story.checkpoints, { ...at, ...event.payload.checkpoint }, "checkpoint_id") };
    case "question_asked": {
      const question = { ...at, ...event.payload.question, isAnswered: false, answer: null };
      return { ...story, questions: replaced(story.questions, question, "question_id") };
    }
    case "question_answered":
      return { ...story, questions: story.questions.map((each) => answered(each, event.payload)) };
    case "run_resumed": {
      const { epoch, attempt, checkpoint_id, cause } = event.payload;
      return { ...story, resumes: [...story.resumes, { ...at, epoch, attempt, checkpointId: checkpoint_id, cause }] };
    }
    case "guardian_acted": {
      const { intervention_id, ...rest } = event.payload;
      return { ...story, interventions: replaced(story.interventions, { ...at, id: intervention_id, ...rest }, "id") };
    }
    case "cycle_changed": {
      const { current_cycle, max_cycles, has_unresolved_review } = event.payload;
      return { ...story, cycle: { current: current_cycle, max: max_cycles, hasUnresolvedReview: has_unresolved_review } };
    }
    default: {
      const type = String((event as { type: unknown }).type);
      return { ...story, unknown: { ...story.unknown, [type]: (story.unknown[type] ?? 0) + 1 } };
    }
  }
}

type HopEvent = Extract<
  RunEventView,
  { type: "hop_started" | "hop_ended" | "tool_called" | "tool_returned" | "artifact_made" }
>;

function toldOfHop(hop: Hop, event: HopEvent, at: Moment): Hop {
  switch (event.type) {
    case "hop_started": {
      const { capability, role, task, address } = event.payload;
      // one that is begun again tells everything again
      return { ...emptyHop(hop.index, at), capability, role, task, address, begunCount: hop.begunCount + 1 };
    }
    case "hop_ended": {
      const { capability, role, outcome, error, duration_ms, usage, is_replayed } = event.payload;
      const known = { capability: hop.capability || capability, role: hop.role || role };
      const told = { outcome, error, usage, durationMs: duration_ms, isReplayed: is_replayed, endTime: at.time };
      return { ...hop, ...known, ...told };
    }
    case "tool_called": {
      const { tool_call_id: id, name, arguments: given } = event.payload;
      return { ...hop, tools: replaced(hop.tools, { ...at, id, name, arguments: given, content: null, isError: false }, "id") };
    }
    case "tool_returned": {
      const { tool_call_id: id, name, content, is_error } = event.payload;
      const called = hop.tools.find((tool) => tool.id === id) ?? { ...at, id, name, arguments: {} };
      return { ...hop, tools: replaced(hop.tools, { ...called, content, isError: is_error }, "id") };
    }
    case "artifact_made":
      return { ...hop, artifacts: replaced(hop.artifacts, event.payload.artifact, "artifact_id") };
  }
}

type TextPayload = Extract<RunEventView, { type: "text_produced" }>["payload"];

/** An answer that a hop writes is also the hop's text. */
function toldText(story: Story, payload: TextPayload, at: Moment): Story {
  const next = payload.is_answer ? { ...story, answer: continued(story.answer, payload) } : story;
  if (payload.hop_index < 0) return next;
  return inHop(next, payload.hop_index, (hop) => ({ ...hop, text: continued(hop.text, payload) }), at);
}

/** A higher attempt replaces the text of the lower ones; what a lower one still says comes too late. */
function continued(known: Text, { text, attempt }: TextPayload): Text {
  if (attempt < known.attempt) return known;
  return { text: attempt > known.attempt ? text : known.text + text, attempt };
}

function inHop(story: Story, index: number, change: (hop: Hop) => Hop, at: Moment): Story {
  const place = story.hops.findIndex((hop) => hop.index === index);
  if (place < 0) {
    const hops = [...story.hops, change(emptyHop(index, at))].sort((a, b) => a.index - b.index);
    return { ...story, hops };
  }
  return { ...story, hops: story.hops.with(place, change(story.hops[place]!)) };
}

function emptyHop(index: number, at: Moment): Hop {
  return {
    ...at,
    index,
    capability: "",
    role: "",
    task: "",
    address: "",
    begunCount: 0,
    endTime: null,
    outcome: "",
    error: null,
    durationMs: null,
    usage: null,
    isReplayed: false,
    text: NO_TEXT,
    tools: [],
    artifacts: [],
    citations: [],
  };
}

function answered(question: AskedQuestion, payload: { question_id: string; answer: unknown }): AskedQuestion {
  return question.question_id === payload.question_id ? { ...question, isAnswered: true, answer: payload.answer } : question;
}

function withCitation(list: readonly CitationView[], citation: CitationView): readonly CitationView[] {
  const place = list.findIndex((each) => each.number === citation.number && each.source === citation.source);
  return place < 0 ? [...list, citation].sort((a, b) => a.number - b.number) : list.with(place, citation);
}

/** The item in place of the one with the same id, or at the end. */
function replaced<Item, Id extends keyof Item>(list: readonly Item[], item: Item, id: Id): readonly Item[] {
  const place = list.findIndex((each) => each[id] === item[id]);
  return place < 0 ? [...list, item] : list.with(place, item);
}

/** The log of a list that only grows, or began anew. */
export function followed(log: RunLog, events: readonly RunEventView[]): RunLog {
  const last = log.events.at(-1);
  const isSameLife = !last || events[log.events.length - 1] === last;
  return isSameLife ? addEvents(log, events.slice(log.events.length)) : addEvents(EMPTY_LOG, events);
}
