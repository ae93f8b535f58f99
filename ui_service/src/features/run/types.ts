/** The shapes that the run page works with, out of control's OpenAPI document. */
import type { RunView } from "@/api/schema";

export type {
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
  SpanView,
  UsageView,
} from "@/api/schema";

export type RunState = RunView["state"];
