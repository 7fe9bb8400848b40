// The databases. Each is a PouchDB in memory, which keeps documents, revision trees, attachments and sequences; beside it
// stand what CouchDB adds to it: `_security`, `_local` documents, indexes, validation functions and a signal of writes.

import { EventEmitter, once } from 'node:events';

import PouchDB from 'pouchdb';
import memory from 'pouchdb-adapter-memory';
import find from 'pouchdb-find';

import { DEFAULT_SECURITY } from './access.mjs';
import { Refusal } from './exchange.mjs';
import { DocumentIndex, ViewIndex } from './indexes.mjs';
import { leavesOf } from './revisions.mjs';
import { Sandbox } from './sandbox.mjs';

PouchDB.plugin(memory);
PouchDB.plugin(find);
export { PouchDB };

const SYSTEM = ['_users', '_replicator', '_global_changes'];
const LEGAL = /^[a-z][a-z0-9_$()+/-]*$/;

export class Databases {
  #open = new Map();
  #serial = 0;

  create(name) {
    if (!LEGAL.test(name) && !SYSTEM.includes(name)) {
      throw new Refusal(400, 'illegal_database_name', `Name: '${name}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), +, -, and / are allowed. Must begin with a letter.`);
    }
    if (this.#open.has(name)) {
      throw new Refusal(412, 'file_exists', 'The database could not be created, the file already exists.');
    }
    this.#open.set(name, new Database(name, `${this.#serial++}-${name}`));
  }

  find(name) {
    return this.#open.get(name);
  }

  get(name) {
    const database = this.find(name);
    if (!database) throw new Refusal(404, 'not_found', 'Database does not exist.');
    return database;
  }

  async remove(name) {
    const database = this.get(name);
    this.#open.delete(name);
    await database.end();
  }

  names() {
    return [...this.#open.keys()].sort();
  }
}

export class Database {
  #signal = new EventEmitter().setMaxListeners(0);
  #writing = Promise.resolve();
  #views = new Map();
  #validators;

  constructor(name, storage) {
    this.name = name;
    this.made = String(Math.floor(Date.now() / 1000));
    this.pouch = new PouchDB(storage, { adapter: 'memory' });
    this.security = DEFAULT_SECURITY;
    this.locals = new Map();
    this.revsLimit = 1000;
    this.version = 0;
    this.ended = false;
    this.documents = new DocumentIndex(this.pouch);
  }

  async end() {
    this.ended = true;
    this.touch();
    await this.pouch.destroy();
  }

  /** Runs one write after another, so that nothing changes between a check and the write it allows. */
  exclusive(work) {
    const done = this.#writing.then(work);
    this.#writing = done.catch(() => {});
    return done;
  }

  /** Tells those who wait that something was written. */
  touch() {
    this.version += 1;
    this.#signal.emit('written');
  }

  /** Resolves when something has been written after `version`; rejects when `signal` aborts. */
  async writtenAfter(version, signal) {
    if (this.version === version) await once(this.#signal, 'written', { signal });
  }

  /** The leaves of a document's revision tree, the winner first; none if there is no such document. */
  async leaves(id) {
    return leavesOf(await this.tree(id));
  }

  /** A document's revision tree as PouchDB keeps it; empty if there is no such document. */
  tree(id) {
    return new Promise((resolve, reject) => {
      this.pouch._getRevisionTree(id, (error, tree) => {
        if (error && error.status !== 404) reject(error);
        else resolve(tree ?? []);
      });
    });
  }

  async design(name) {
    return this.pouch.get(`_design/${name}`);
  }

  async view(designName, viewName) {
    const design = await this.design(designName);
    const definition = design.views?.[viewName];
    if (typeof definition?.map !== 'string') throw new Refusal(404, 'not_found', 'missing_named_view');
    const lib = design.views.lib ?? {};
    const key = JSON.stringify([designName, viewName, definition, design.options, lib]);
    if (!this.#views.has(key)) this.#views.set(key, new ViewIndex(this.pouch, definition, design.options, { views: { lib } }));
    return this.#views.get(key);
  }

  /** The validation functions of all design documents, compiled once until a design document is written. */
  validators() {
    this.#validators ??= this.#compileValidators();
    return this.#validators;
  }

  forgetValidators() {
    this.#validators = undefined;
  }

  async #compileValidators() {
    const { rows } = await this.pouch.allDocs({ startkey: '_design/', endkey: '_design0', include_docs: true });
    return rows
      .filter(({ doc }) => typeof doc.validate_doc_update === 'string')
      .map(({ doc }) => new Sandbox(doc).compile(doc.validate_doc_update));
  }
}
