// Mango selectors as CouchDB reads and matches them: `mango_selector.erl`, clause by clause.

import { collate, compareIds } from './collation.mjs';
import { Refusal } from './exchange.mjs';

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

/** A selector in CouchDB's normal form: `[operator, argument]`, or `[path, condition]`. */
export function normalize(selector) {
  if (!isObject(selector)) throw new Refusal(400, 'invalid_selector_json', 'Selector must be a JSON object');
  if (Object.keys(selector).length === 0) return undefined;
  const normal = settle(read(selector, []));
  if (normal[0].length === 0) throw new Refusal(400, 'invalid_selector', 'One or more conditions is missing a field name.');
  return normal;
}

/** Whether it combines nothing: by that CouchDB finds nothing, though every document matches. */
export const combinesNothing = (normal) => normal !== undefined && ['$and', '$or'].includes(normal[0]) && normal[1].length === 0;

export const matches = (normal, document) => normal === undefined || match(normal, document, collate);

const LISTS = ['$and', '$or', '$nor', '$in', '$nin', '$all'];
const WITHIN = ['$elemMatch', '$allMatch', '$keyMapMatch'];
const VALUES = {
  $lt: () => true, $lte: () => true, $eq: () => true, $ne: () => true, $gte: () => true, $gt: () => true,
  $in: Array.isArray, $nin: Array.isArray, $all: Array.isArray,
  $exists: (value) => typeof value === 'boolean', $type: (value) => typeof value === 'string',
  $mod: (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isInteger),
  $size: (value) => Number.isInteger(value) && value >= 0,
  $regex: (value) => typeof value === 'string', $beginsWith: (value) => typeof value === 'string',
};

/** `norm_ops` and `norm_fields`. */
function read(value, path) {
  const members = isObject(value) ? Object.entries(value) : [];
  if (members.length === 0) return [path, ['$eq', value]];
  if (members.length > 1) return ['$and', members.map(([name, argument]) => read({ [name]: argument }, path))];
  const [[name, argument]] = members;
  if (!name.startsWith('$')) return read(argument, [...path, ...steps(name)]);
  const bad = () => new Refusal(400, 'bad_arg', `Bad argument for operator ${name}: ${JSON.stringify(argument)}`);
  if (LISTS.includes(name) && !Array.isArray(argument)) throw bad();
  if (['$and', '$or', '$nor'].includes(name)) return [name, argument.map((each) => read(each, path))];
  if ([...WITHIN, '$not'].includes(name) && !isObject(argument)) throw bad();
  if (name === '$not') return [name, read(argument, path)];
  if (WITHIN.includes(name)) return [path, [name, read(argument, [])]];
  if (!VALUES[name]) throw new Refusal(400, 'invalid_operator', `Invalid operator: ${name}`);
  if (!VALUES[name](argument)) throw bad();
  return [path, [name, argument]];
}

const steps = (field) => field.split(/(?<!\\)\./).map((step) => step.replaceAll('\\', ''));

/** `norm_negations` */
function settle([name, argument]) {
  if (name === '$not') return negate(argument);
  if (name === '$nor') return ['$and', argument.map(negate)];
  if (name === '$and' || name === '$or') return [name, argument.map(settle)];
  return [name, argument];
}

const OPPOSITES = { $lt: '$gte', $lte: '$gt', $eq: '$ne', $ne: '$eq', $gte: '$lt', $gt: '$lte', $in: '$nin', $nin: '$in' };

function negate([name, argument]) {
  if (name === '$not') return settle(argument);
  if (name === '$nor') return ['$or', argument.map(settle)];
  if (name === '$and') return ['$or', argument.map(negate)];
  if (name === '$or') return ['$and', argument.map(negate)];
  const [operator, value] = argument;
  if (OPPOSITES[operator]) return [name, [OPPOSITES[operator], value]];
  return operator === '$exists' ? [name, [operator, !value]] : [name, ['$not', argument]];
}

const ABSENT = Symbol('absent');
const BAD_PATH = Symbol('bad path');

/** `mango_doc:get_field` */
function follow(value, path) {
  let found = value;
  for (const step of path) {
    if (isObject(found)) found = Object.hasOwn(found, step) ? found[step] : ABSENT;
    else if (Array.isArray(found)) found = /^[+-]?\d+$/.test(step) && Number(step) >= 0 && Number(step) < found.length ? found[Number(step)] : BAD_PATH;
    else return BAD_PATH;
    if (found === ABSENT || found === BAD_PATH) return found;
  }
  return found;
}

function match([name, argument], value, compare) {
  if (Array.isArray(name)) {
    const found = follow(value, name);
    if (found === ABSENT) return argument[0] === '$exists' && !argument[1];
    if (found === BAD_PATH) return false;
    return match(argument, found, name.length === 1 && name[0] === '_id' ? raw : compare);
  }
  if (name === '$and') return argument.every((each) => match(each, value, compare));
  if (name === '$or') return argument.length === 0 || argument.some((each) => match(each, value, compare));
  if (name === '$not') return !match(argument, value, compare);
  return TESTS[name](value, argument, compare);
}

const raw = (left, right) => (typeof left === 'string' && typeof right === 'string' ? compareIds(left, right) : collate(left, right));
const isIn = (value, list, compare) => list.some((each) => [value].flat().some((one) => compare(one, each) === 0) && (!Array.isArray(value) || value.length > 0));
const same = (left, right) => JSON.stringify(left) === JSON.stringify(right);

const TESTS = {
  $lt: (value, argument, compare) => compare(value, argument) < 0,
  $lte: (value, argument, compare) => compare(value, argument) <= 0,
  $eq: (value, argument, compare) => compare(value, argument) === 0,
  $ne: (value, argument, compare) => compare(value, argument) !== 0,
  $gte: (value, argument, compare) => compare(value, argument) >= 0,
  $gt: (value, argument, compare) => compare(value, argument) > 0,
  $in: isIn,
  $nin: (value, argument, compare) => !isIn(value, argument, compare),
  $all: (value, argument) => argument.length > 0 && Array.isArray(value) && (argument.every((each) => value.some((one) => same(one, each))) || (argument.length === 1 && same(argument[0], value))),
  $exists: (_, argument) => argument,
  $type: (value, argument) => argument === (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value),
  $mod: (value, [divisor, rest]) => Number.isInteger(value) && value % divisor === rest,
  $size: (value, argument) => Array.isArray(value) && value.length === argument,
  $regex: (value, argument) => typeof value === 'string' && new RegExp(argument).test(value),
  $beginsWith: (value, argument) => typeof value === 'string' && value.startsWith(argument),
  $elemMatch: (value, argument, compare) => Array.isArray(value) && value.some((each) => match(argument, each, compare)),
  $allMatch: (value, argument, compare) => Array.isArray(value) && value.length > 0 && value.every((each) => match(argument, each, compare)),
  $keyMapMatch: (value, argument, compare) => isObject(value) && Object.keys(value).some((each) => match(argument, each, compare)),
};
