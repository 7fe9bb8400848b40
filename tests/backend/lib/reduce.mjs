// Reduce functions: CouchDB's built-in ones, and those of design documents (called in chunks and then with `rereduce`, as a
// B-tree would).

import { Refusal } from './exchange.mjs';

const CHUNK = 100;

const BUILT_IN = {
  _count: (rows) => rows.length,
  _sum: (rows) => rows.map(({ value }) => value).reduce((sum, value) => add(sum, value), 0),
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
    } catch ({ error, reason, cause }) {
      return { error, reason, ...(cause !== undefined && { caused_by: cause }) };
    }
  };
}

/** Adds a value to what there is, as `couch_query_servers:sum_values`. */
function add(sum, value) {
  if (typeof value === 'number' && typeof sum === 'number') return sum + value;
  if (Array.isArray(value) && (Array.isArray(sum) || typeof sum === 'number')) return addLists([sum].flat(), value);
  if (typeof value === 'number' && Array.isArray(sum)) return addLists(sum, [value]);
  if (isObject(value) && !Array.isArray(value) && sum === 0) return value;
  if (isObject(value) && !Array.isArray(value) && isObject(sum) && !Array.isArray(sum)) return addObjects(sum, value);
  throw notAdded(value);
}

function addLists(sum, values) {
  const longer = sum.length >= values.length ? sum : values;
  return longer.map((each, index) => {
    if (index >= Math.min(sum.length, values.length)) return each;
    if (typeof sum[index] !== 'number' || typeof values[index] !== 'number') throw notAdded(sum.slice(index));
    return sum[index] + values[index];
  });
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

const SUMMANDS = 'numbers, arrays of numbers, or objects. Objects cannot be mixed with other data structures. Objects can be arbitrarily nested, provided that the values for all fields are themselves numbers, arrays of numbers, or objects.';

const notAdded = (cause) => Object.assign(invalid('_sum', SUMMANDS), { cause });

function invalid(name, kinds) {
  return new Refusal(500, 'builtin_reduce_error', `The ${name} function requires that map values be ${kinds}`);
}
