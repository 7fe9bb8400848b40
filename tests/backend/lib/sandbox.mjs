// Runs the JavaScript of design documents apart from ours. Values cross the border as JSON, as they do to CouchDB's query server.

import vm from 'node:vm';

import { Refusal } from './exchange.mjs';

const PRELUDE = `
  var emitted = [];
  function emit(key, value) { emitted.push([key === undefined ? null : key, value === undefined ? null : value]); }
  function sum(values) { return values.reduce(function (left, right) { return left + right; }, 0); }
  var isArray = Array.isArray, toJSON = JSON.stringify;
  function log() {}
  var modules = {}, loaded = {};
  function require(path) {
    if (!loaded[path]) {
      var source = path.split('/').reduce(function (members, name) { return members && members[name]; }, modules);
      if (typeof source !== 'string') throw new Error('Must require a JavaScript string: ' + path);
      var module = loaded[path] = { exports: {} };
      eval('(function (module, exports, require) { ' + source + '\\n})')(module, module.exports, require);
    }
    return loaded[path].exports;
  }
  function call(name, args) { return JSON.stringify(functions[name].apply(null, JSON.parse(args))); }
  function map(name, args) { emitted = []; functions[name].apply(null, JSON.parse(args)); return JSON.stringify(emitted); }
  var functions = {};
`;

export class Sandbox {
  #context = vm.createContext({});
  #count = 0;

  /** `modules`: the members of the design document that its functions may `require`. */
  constructor(modules = {}) {
    vm.runInContext(PRELUDE, this.#context);
    vm.runInContext(`modules = ${JSON.stringify(modules)}`, this.#context);
  }

  /** A function of the design document as a function of ours. What it throws passes through. */
  compile(source) {
    const name = this.#install(source);
    return (...values) => parsed(this.#context.call(name, JSON.stringify(values)));
  }

  /** A map function: answers the pairs it emits. A document it fails on emits nothing, as in CouchDB. */
  compileMap(source) {
    const name = this.#install(source);
    return (document) => {
      try {
        return JSON.parse(this.#context.map(name, JSON.stringify([document])));
      } catch {
        return [];
      }
    };
  }

  #install(source) {
    const name = `f${this.#count++}`;
    try {
      vm.runInContext(`functions.${name} = (${source.trim().replace(/;$/, '')})`, this.#context);
    } catch (error) {
      throw new Refusal(500, 'compilation_error', String(error));
    }
    return name;
  }
}

const parsed = (text) => (text === undefined ? undefined : JSON.parse(text));
