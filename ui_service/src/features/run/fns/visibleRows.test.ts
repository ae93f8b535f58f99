import { describe, expect, it } from "vitest";

import { timed } from "./made";
import { spanKey } from "./spanSet";
import { buildTree } from "./spanTree";
import { actionOf, moved, nextMatch } from "./timelineKeys";
import { visibleRows } from "./visibleRows";

const spans = [
  timed("a", "", 0, 9),
  timed("b", "a", 1, 2, { attributes: { "tool.name": "<script>alert(1)</script>", size: 12 } }),
  timed("c", "b", 3, 8, { name: "Model.Chat" }),
  timed("d", "a", 4, 5, { status_message: "Too late" }),
];
const tree = buildTree(spans);
const key = (index: number) => spanKey(spans[index]!);
const shown = (folded: string[], search: string) =>
  visibleRows(tree, new Set(folded), search).rows.map((row) => row.span.span_id).join("");

describe("rows", () => {
  it("are all there without folds and search", () => {
    expect(shown([], "")).toBe("abcd");
    expect(shown([], "   ")).toBe("abcd");
  });

  it("below a folded one are hidden", () => {
    expect(shown([key(1)], "")).toBe("abd");
    expect(shown([key(0), key(1)], "")).toBe("a");
  });

  it("that fit a search are shown with their ancestors, folded or not", () => {
    expect(shown([key(0)], "model.chat")).toBe("abc");
    expect(visibleRows(tree, new Set(), "model.chat").matches).toEqual([key(2)]);
  });

  it("are searched in names, states, messages and attributes, for all words", () => {
    expect(shown([], "too LATE")).toBe("ad");
    expect(shown([], "size=12")).toBe("ab");
    expect(shown([], "<script>")).toBe("ab");
    expect(shown([], "chat nothing")).toBe("");
  });

  it("of 10,000 are found in bounded time", () => {
    const many = Array.from({ length: 10_000 }, (_, index) => timed(`s${index}`, index ? `s${index - 1}` : "", index, index + 1));
    expect(visibleRows(buildTree(many), new Set(), "s9999").rows).toHaveLength(10_000);
  }, 30_000);
});

describe("keys", () => {
  const press = (name: string, over = {}) => actionOf({ key: name, ctrlKey: false, metaKey: false, altKey: false, ...over });

  it("mean what the table says, and nothing with a modifier", () => {
    expect(press("j")).toEqual({ type: "move", by: 1 });
    expect(press("ArrowUp")).toEqual({ type: "move", by: -1 });
    expect(press("+")).toEqual({ type: "zoom", factor: 0.5 });
    expect(press("j", { ctrlKey: true })).toBeNull();
    expect(press("toString")).toBeNull();
  });

  it("move inside the rows", () => {
    expect([moved(-1, 1, 5), moved(-1, -1, 5), moved(0, -1, 5), moved(4, 1, 5), moved(1, 2, 5), moved(3, 1, 0)]).toEqual([
      0, 4, 0, 4, 3, -1,
    ]);
  });

  it("go from match to match and round", () => {
    const rows = ["a", "b", "c", "d"];
    expect(nextMatch(["b", "d"], rows, "b", 1)).toBe("d");
    expect(nextMatch(["b", "d"], rows, "d", 1)).toBe("b");
    expect(nextMatch(["b", "d"], rows, "c", -1)).toBe("b");
    expect(nextMatch(["b", "d"], rows, "", 1)).toBe("b");
    expect(nextMatch([], rows, "a", 1)).toBe("");
  });
});
