/**
 * Where things are in the one table of a conversation, `log`. One integer key says all: a second key column would cost a
 * row written more per row.
 *
 *   key                what                                                          owner
 *   -2 SPAN …          the further parts of slot 1's request, in order               Records
 *   -SPAN …            the further parts of slot 0's request, in order               Records
 *   -2                 slot 1's record, and the first part of its request            Records
 *   -1                 slot 0's record, and the first part of its request            Records
 *   0 …                slot 0's log: the offset of the row's first byte              LogRows
 *   SPAN …             slot 1's log: the same, from where the slot begins            LogRows
 */

/** A conversation can hold two sessions at a time. */
export type Slot = 0 | 1;

/** Room of a slot, in keys that JavaScript's numbers can hold. */
const SLOT_SPAN = 2 ** 50;

/** From the first key to the one behind the last. */
export type KeyRange = readonly [from: number, to: number];

export function recordKey(slot: Slot): number {
  return -1 - slot;
}

/** Of the request's part with this index, not counting the first, which is in the record's row. */
export function partKey(slot: Slot, index: number): number {
  return -(slot + 1) * SLOT_SPAN + index;
}

export function partKeys(slot: Slot): KeyRange {
  return [partKey(slot, 0), partKey(slot, SLOT_SPAN / 2)];
}

export function logKey(slot: Slot, offset: number): number {
  return slot * SLOT_SPAN + offset;
}

export function logKeys(slot: Slot): KeyRange {
  return [logKey(slot, 0), logKey(slot, SLOT_SPAN)];
}

/** Of a row of the slot's log. */
export function offsetOf(slot: Slot, key: number): number {
  return key - logKey(slot, 0);
}
