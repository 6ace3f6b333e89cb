/** What stands around curves, in SVG: axes with ticks, bands, marks and their labels. */

import { svg } from "../dom.js";

const LINE = 15; // px between labels above one another
const LETTER = 7; // px of a label's letter, roughly

/** Grid, ticks and names of both axes, in a field of `width` by `tall` px. */
export function axes({ x, y, name, width, tall, right }) {
  const parts = [];
  for (const { value, label } of x.ticks(Math.max(2, Math.floor(width / 60)))) {
    const at = x.at(value);
    parts.push(rule(label, `M${at} ${tall}v${label ? -tall : 5}`));
    if (!label) continue;
    const edge = width + right;
    const cut = at + (label.length * LETTER) / 2 > edge;
    parts.push(text(cut ? edge : at, tall + 17, label, cut ? "end" : "middle"));
  }
  for (const { value, label } of y.ticks(Math.max(2, Math.floor(tall / 32)))) {
    const at = y.at(value);
    parts.push(rule(label, `M0 ${at}h${label ? width : -5}`));
    if (label) parts.push(text(-7, at + 4, label, "end"));
  }
  parts.push(svg("path", { class: "axis", d: `M0 0V${tall}H${width}` }));
  parts.push(text(width / 2, tall + 34, name, "middle", "name"));
  return parts;
}

/** Bands and the lines of marks, which lie under the curves. */
export function grounds({ x, bands, marks, width, tall }) {
  const inside = (value) => Math.max(0, Math.min(width, x.at(value)));
  const parts = bands.map(({ from, to, kind = "" }) => {
    const [left, right] = [inside(from), inside(to)];
    const size = { x: left, y: 0, width: right - left, height: tall };
    return svg("rect", { class: `band ${kind}`, ...size });
  });
  for (const { x: at, kind = "" } of marks.filter((mark) => seen(x, mark.x)))
    parts.push(svg("path", { class: `mark ${kind}`, d: `M${x.at(at)} 0V${tall}` }));
  return parts;
}

/** The words of bands and marks, each in the first row where nothing stands in its way. */
export function labels({ x, bands, marks, width, tall }) {
  const notes = [
    ...bands.map(({ from, label, kind = "" }) => ({ x: from, label, kind: `band ${kind}` })),
    ...marks.map((mark) => ({ ...mark, kind: `mark ${mark.kind ?? ""}` })),
  ].filter((note) => note.label && (seen(x, note.x) || note.kind.startsWith("band")));
  const rows = [];
  return notes.flatMap(({ x: value, label, after, kind }) => {
    const room = label.length * LETTER + 5;
    let at = Math.max(0, Math.min(width, x.at(value)));
    if (at < room && at + room > width) at = width; // there is room on neither side of it
    const right = after ? at + room < width : at < room;
    const span = right ? [at, at + room] : [at - room, at];
    let row = rows.findIndex((taken) => taken.every(([a, b]) => b < span[0] || a > span[1]));
    if (row < 0) row = rows.push([]) - 1;
    if ((row + 1) * LINE > tall) return []; // it can still be read by the crosshair's neighbours
    rows[row].push(span);
    return text(at + (right ? 5 : -5), 12 + row * LINE, label, right ? "start" : "end", kind);
  });
}

const seen = ({ limits: [from, to] }, value) => value >= from && value <= to;
const rule = (label, d) => svg("path", { class: label ? "grid" : "tick", d });
const text = (x, y, words, anchor, kind = "") =>
  svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
