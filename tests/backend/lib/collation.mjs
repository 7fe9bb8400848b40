// The order of view keys: null, false, true, numbers, strings by ICU, arrays, objects.

const strings = new Intl.Collator('und');

export function collate(left, right) {
  const ranks = rank(left) - rank(right);
  if (ranks !== 0 || left === null || typeof left === 'boolean') return ranks;
  if (typeof left === 'number') return left - right;
  if (typeof left === 'string') return strings.compare(left, right);
  return Array.isArray(left) ? collateLists(left, right) : collateLists(Object.entries(left), Object.entries(right));
}

function collateLists(left, right) {
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const order = collate(left[index], right[index]);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

function rank(value) {
  if (value === null) return 0;
  if (typeof value === 'boolean') return value ? 2 : 1;
  if (typeof value === 'number') return 3;
  if (typeof value === 'string') return 4;
  return Array.isArray(value) ? 5 : 6;
}

/** The order of document ids: by code unit, not by ICU. */
export const compareIds = (left, right) => (left < right ? -1 : left > right ? 1 : 0);
