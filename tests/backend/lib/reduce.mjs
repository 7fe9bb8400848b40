// Reduce functions: CouchDB's built-in ones, and those of design documents (called in chunks and then with `rereduce`, as a
// B-tree would).

import { Refusal } from './exchange.mjs';

const CHUNK = 100;

const BUILT_IN = {
  _count: (rows) => rows.length,
  _sum: (rows) => rows.map(({ value }) => summand(value)).reduce(add),
  _stats: (rows) => stats(rows.map(({ value }) => value)),
  _approx_count_distinct: (rows) => new Set(rows.map(({ key }) => JSON.stringify(key))).size,
};

/** A function from rows to their reduced value. */
export function reducer(source, sandbox) {
  if (source.startsWith('_')) return builtIn(source);
  const reduce = sandbox.compile(source);
  return (rows) => {
    const parts = [];
    for (let start = 0; start < rows.length; start += CHUNK) {
      const chunk = rows.slice(start, start + CHUNK);
      parts.push(reduce(chunk.map(({ key, id }) => [key, id]), chunk.map(({ value }) => value), false) ?? null);
    }
    return parts.length > 1 ? reduce(null, parts, true) ?? null : parts[0];
  };
}

/** A value that a built-in function cannot take becomes an error in the row. */
function builtIn(name) {
  const reduce = BUILT_IN[name];
  if (!reduce) throw new Refusal(400, 'invalid_design_doc', `\`${name}\` is not a supported reduce function.`);
  return (rows) => {
    try {
      return reduce(rows);
    } catch ({ error, reason }) {
      return { error, reason };
    }
  };
}

function summand(value) {
  if (typeof value === 'number' || isObject(value)) return value;
  throw invalid('_sum', 'numbers, arrays of numbers, or objects.');
}

function add(left, right) {
  if (typeof left === 'number' && typeof right === 'number') return left + right;
  if (Array.isArray(left) || Array.isArray(right)) return addLists([left].flat(), [right].flat());
  if (isObject(left) && isObject(right)) return addObjects(left, right);
  throw invalid('_sum', 'numbers, arrays of numbers, or objects.');
}

function addLists(left, right) {
  const [longer, shorter] = left.length >= right.length ? [left, right] : [right, left];
  return longer.map((value, index) => (index < shorter.length ? add(value, shorter[index]) : value));
}

function addObjects(left, right) {
  const result = { ...left };
  for (const [name, value] of Object.entries(right)) result[name] = name in left ? add(left[name], value) : value;
  return result;
}

function stats(values) {
  if (values.every(Array.isArray)) return values[0].map((_, index) => stats(values.map((value) => value[index])));
  if (!values.every((value) => typeof value === 'number')) throw invalid('_stats', 'numbers');
  return {
    sum: values.reduce((left, right) => left + right),
    count: values.length,
    min: values.reduce((left, right) => Math.min(left, right)),
    max: values.reduce((left, right) => Math.max(left, right)),
    sumsqr: values.reduce((sum, value) => sum + value * value, 0),
  };
}

const isObject = (value) => value !== null && typeof value === 'object';

function invalid(name, kinds) {
  return new Refusal(500, 'builtin_reduce_error', `The ${name} function requires that map values be ${kinds}`);
}
