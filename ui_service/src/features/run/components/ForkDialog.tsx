"use client";

import { useId, useState } from "react";

import { Button } from "@/components/ui/Button";
import { Dialog } from "@/components/ui/Dialog";

import type { RunActions } from "../hooks/useRunActions";
import type { CheckpointView } from "../types";

export interface ForkDialogProps {
  checkpoint: CheckpointView;
  query: string;
  actions: RunActions;
  onClose: () => void;
}

/** Starts a new run from a checkpoint, with another question if one likes. */
export function ForkDialog({ checkpoint, query, actions, onClose }: ForkDialogProps) {
  const [text, setText] = useState(query);
  const id = useId();
  const isChanged = text.trim() !== "" && text !== query;
  return (
    <Dialog
      open
      onOpenChange={(isOpen) => !isOpen && onClose()}
      title={`Fork from step ${checkpoint.step}`}
      description="A new run in a new thread goes on from here; this one stays as it is. What follows is done again, with effects of its own."
    >
      <label htmlFor={id} className="mb-1 block text-sm text-muted">
        Question
      </label>
      <textarea
        id={id}
        rows={4}
        value={text}
        maxLength={32_768}
        onChange={(event) => setText(event.target.value)}
        className="w-full rounded-md border border-line-strong bg-raised px-2.5 py-2 text-sm"
      />
      <div className="mt-4 flex justify-end gap-2">
        <Button onClick={onClose}>Keep as it is</Button>
        <Button
          variant="primary"
          disabled={actions.fork.isPending}
          onClick={() => actions.fork.mutate({ checkpointId: checkpoint.checkpoint_id, query: isChanged ? text : "" })}
        >
          Start the fork
        </Button>
      </div>
    </Dialog>
  );
}
