/** The looks of fields that are written into. */
export const FIELD =
  "h-8 min-w-0 rounded-md border border-line-strong bg-raised px-2.5 text-sm placeholder:text-muted hover:border-muted";
