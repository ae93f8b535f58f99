import { Slot } from "radix-ui";
import type { ComponentProps } from "react";

import { cn } from "@/components/cn";

const VARIANTS = {
  primary: "bg-accent text-accent-text hover:opacity-90",
  secondary: "border border-line-strong bg-raised hover:bg-hover",
  ghost: "text-muted hover:bg-hover hover:text-text",
  danger: "border border-line-strong bg-raised text-bad hover:bg-bad-soft",
};
const SIZES = { sm: "h-8 px-2.5 text-sm", md: "h-9 px-3.5 text-sm", icon: "size-8 justify-center" };

export interface ButtonProps extends ComponentProps<"button"> {
  variant?: keyof typeof VARIANTS;
  size?: keyof typeof SIZES;
  /** Give the looks to the child, such as a link. */
  asChild?: boolean;
}

export function Button({ variant = "secondary", size = "sm", asChild, className, ...rest }: ButtonProps) {
  const Element = asChild ? Slot.Root : "button";
  return (
    <Element
      type={asChild ? undefined : "button"}
      className={cn(
        "inline-flex shrink-0 items-center justify-center gap-1.5 rounded-md font-medium whitespace-nowrap transition-colors",
        "disabled:cursor-not-allowed disabled:opacity-60",
        VARIANTS[variant],
        SIZES[size],
        className,
      )}
      {...rest}
    />
  );
}
