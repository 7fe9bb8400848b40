//! What is in the node database, as far as it is known here: the whole tree, and full nodes that were read.
//!
//! The tree follows the database's `_changes`. Whoever must know the very latest (each writer) reads the
//! changes up to now first; readers believe what a watcher keeps up to date. Full nodes are kept under a
//! signature of the revisions that they are made of, so nothing that is kept is ever wrong: a change makes
//! another signature.
//!
//! A node that is not kept costs one request for all the documents that are missing, however deep its
//! tree; many readers of one node at one time share it.
//!
//! Invariant: a full node is made of exactly the revisions that its signature names.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::single::{self, Single};
use super::tree::{Broken, Document, Tree};
use crate::couch::behalf::for_all;
use crate::couch::{Couch, CouchError};
use crate::json::{Object, Value};
use crate::refusal::Refusal;
use crate::route::DbName;
use crate::secret::Key;

/// How long the tree is believed while nothing tells that it is still right: longer than one question.
const BELIEVED: Duration = Duration::from_secs(15);

/// How many times a reader looks again because a document has changed meanwhile.
const PATIENCE: usize = 5;

/// About how many bytes of full nodes, and of documents, are kept.
const CAPACITY: u64 = 64 << 20;

/// A signature of the revisions that a full node is made of.
pub(super) type Signature = [u8; 32];

/// The node database.
#[derive(Debug)]
pub(super) struct Store {
    couch: Couch,
    db: DbName,
    state: RwLock<State>,
    /// Whoever holds it is the one who changes the tree.
    read_to: Mutex<Place>,
    documents: Cache<Box<str>, Arc<Single>>,
    full: Cache<Signature, Arc<Full>>,
    /// Signs revisions, which may be none of the reader's business.
    tags: Key,
}

#[derive(Debug, Default)]
struct State {
    tree: Tree,
    /// When the tree was last known to be right.
    confirmed: Option<Instant>,
}

/// A full node, or a single-level one.
#[derive(Debug)]
pub(super) struct Full {
    pub(super) node: Arc<Single>,
    pub(super) properties: Object,
    pub(super) signature: Signature,
    /// The answers made of it, by how it is shown.
    pub(super) bodies: [OnceLock<Bytes>; 4],
}

/// Why there is no full node.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    Broken(Broken),
    Refused(Refusal),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Why documents are not there.
#[derive(Debug)]
enum Miss {
    /// One of them has changed meanwhile.
    Changed,
    Couch(CouchError),
}

/// The documents that a full node is made of, itself last.
type Chain = Vec<(Box<str>, Box<str>)>;

impl Store {
    pub(super) fn new(couch: Couch, db: DbName, tags: Key) -> Self {
        Self {
            couch,
            db,
            state: RwLock::default(),
            read_to: Mutex::new(Place::beginning()),
            documents: Cache::builder()
                .max_capacity(CAPACITY)
                .weigher(|_, single: &Arc<Single>| u32::try_from(single.weight).unwrap_or(u32::MAX))
                .build(),
            full: Cache::builder()
                .max_capacity(CAPACITY)
                .weigher(|_, full: &Arc<Full>| {
                    u32::try_from(single::weight(&full.properties)).unwrap_or(u32::MAX)
                })
                .build(),
            tags,
        }
    }

    /// Looks at the tree.
    pub(super) fn look<T>(&self, with: impl FnOnce(&Tree) -> T) -> T {
        with(
            &self
                .state
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .tree,
        )
    }

    /// Makes sure that the tree has been read, and is followed.
    pub(super) async fn ready(&self) -> Result<(), Refusal> {
        if self.is_believed() {
            return Ok(());
        }
        let mut read_to = self.read_to.lock().await;
        // Someone else may have read it while we waited.
        if self.is_believed() {
            return Ok(());
        }
        Ok(for_all(self.read_on(&mut read_to)).await?)
    }

    /// Reads all changes up to now.
    pub(super) async fn catch_up(&self) -> Result<(), Refusal> {
        let mut read_to = self.read_to.lock().await;
        Ok(for_all(self.read_on(&mut read_to)).await?)
    }

    /// Notes a document that we have written ourselves.
    pub(super) async fn wrote(&self, id: &str, document: Document) {
        let _held = self.read_to.lock().await;
        self.change(|state| state.tree.note(id, document));
    }

    fn is_believed(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.confirmed.is_some_and(|at| at.elapsed() < BELIEVED)
    }

    fn change(&self, with: impl FnOnce(&mut State)) {
        with(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The full node, or with `alone` the single-level one; nothing, if there is no such node.
    pub(super) async fn full(&self, id: &str, alone: bool) -> Result<Option<Arc<Full>>, Trouble> {
        for _ in 0..PATIENCE {
            let Some(signature) = self.look(|tree| self.signature(tree, id, alone))? else {
                return Ok(None);
            };
            if let Some(full) = self.full.get(&signature).await {
                return Ok(Some(full));
            }
            let made = self
                .full
                .try_get_with(signature, self.make(id, alone, signature));
            match made.await {
                Ok(full) => return Ok(Some(full)),
                Err(miss) => match &*miss {
                    Miss::Changed => self.catch_up().await?,
                    Miss::Couch(error) => return Err(Refusal::from(error.clone()).into()),
                },
            }
        }
        Err(Refusal::Unavailable(1).into())
    }

    /// What a node with these parents inherits.
    pub(super) async fn inherited(&self, id: &str, parents: &[String]) -> Result<Object, Trouble> {
        let boxed: Vec<Box<str>> = parents.iter().map(|id| id.as_str().into()).collect();
        for _ in 0..PATIENCE {
            let chain = self.look(|tree| {
                let mut order = tree.order(id, &boxed)?;
                // The node itself is what is about to be written.
                order.pop();
                Ok(chain(tree, &order))
            });
            match self.read(&chain.map_err(Trouble::Broken)?).await {
                Ok(order) => {
                    let order: Vec<&Single> = order.iter().map(|node| &**node).collect();
                    return Ok(single::inherited(&order, parents));
                }
                Err(Miss::Changed) => self.catch_up().await?,
                Err(Miss::Couch(error)) => return Err(Refusal::from(error).into()),
            }
        }
        Err(Refusal::Unavailable(1).into())
    }

    /// The signature of a node as the tree has it now.
    pub(super) fn signature(
        &self,
        tree: &Tree,
        id: &str,
        alone: bool,
    ) -> Result<Option<Signature>, Trouble> {
        let Some(knot) = tree.node(id) else {
            return Ok(None);
        };
        let order = match alone {
            true => vec![id],
            false => tree.order(id, &knot.parents).map_err(Trouble::Broken)?,
        };
        let mut parts: Vec<&[u8]> = vec![if alone { b"alone" } else { b"full" }];
        for id in order {
            let rev = tree.find(id).map(Document::rev).unwrap_or_default();
            parts.extend([id.as_bytes(), rev.as_bytes()]);
        }
        Ok(Some(self.tags.sign(&parts)))
    }

    async fn make(&self, id: &str, alone: bool, wanted: Signature) -> Result<Arc<Full>, Miss> {
        let chain = self.look(|tree| {
            // What changed since the signature was made would be kept under a wrong one.
            match self.signature(tree, id, alone) {
                Ok(Some(signature)) if signature == wanted => {}
                Ok(_) | Err(_) => return Err(Miss::Changed),
            }
            let knot = tree.node(id).ok_or(Miss::Changed)?;
            let order = match alone {
                true => vec![id],
                false => tree.order(id, &knot.parents).map_err(|_| Miss::Changed)?,
            };
            Ok(chain(tree, &order))
        })?;
        let order = self.read(&chain).await?;
        let node = Arc::clone(order.last().ok_or(Miss::Changed)?);
        let order: Vec<&Single> = order.iter().map(|node| &**node).collect();
        let properties = match alone {
            true => node.own().clone(),
            false => single::full(&order),
        };
        Ok(Arc::new(Full {
            node,
            properties,
            signature: wanted,
            bodies: Default::default(),
        }))
    }

    /// These revisions of these documents, in this order; those that are not kept in one request.
    async fn read(&self, chain: &Chain) -> Result<Vec<Arc<Single>>, Miss> {
        let mut found: HashMap<&str, Arc<Single>> = HashMap::new();
        let mut missing = Vec::new();
        for (id, rev) in chain {
            match self.documents.get(id).await {
                Some(single) if *single.rev == **rev => {
                    found.insert(id, single);
                }
                Some(_) | None => missing.push(&**id),
            }
        }
        if !missing.is_empty() {
            let read = self.couch.read_many(&self.db, &missing).await;
            let read = read.map_err(Miss::Couch)?;
            for (id, document) in missing.into_iter().zip(read) {
                if let Some(single) = document.as_ref().and_then(Single::read) {
                    let single = Arc::new(single);
                    self.documents.insert(id.into(), Arc::clone(&single)).await;
                    found.insert(id, single);
                }
            }
        }
        let right = |(id, rev): &(Box<str>, Box<str>)| {
            let single = found.get(&**id).filter(|single| *single.rev == **rev);
            single.map(Arc::clone).ok_or(Miss::Changed)
        };
        chain.iter().map(right).collect()
    }
}

fn chain(tree: &Tree, order: &[&str]) -> Chain {
    let rev = |id: &str| tree.find(id).map_or("", Document::rev).into();
    order.iter().map(|id| ((*id).into(), rev(id))).collect()
}

/// How many changed documents are read at once.
const PAGE: usize = 500;

/// How long one question for changes waits.
const WAIT: Duration = Duration::from_secs(10);

/// How long to wait after the changes could not be followed, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Up to where the changes have been read.
#[derive(Debug)]
struct Place {
    seq: String,
    /// When the database was made, as CouchDB tells it.
    made: Option<Value>,
}

impl Place {
    fn beginning() -> Self {
        Self {
            seq: "0".to_owned(),
            made: None,
        }
    }
}

impl Store {
    /// Reads all changes after this place.
    async fn read_on(&self, read_to: &mut Place) -> Result<(), CouchError> {
        loop {
            let begun = Instant::now();
            let changed = self
                .couch
                .changed_documents(&self.db, &read_to.seq, PAGE)
                .await?;
            let Some(changed) = changed else {
                // No database, no nodes; one that comes back begins anew.
                *read_to = Place::beginning();
                self.change(|state| {
                    *state = State {
                        confirmed: Some(begun),
                        ..State::default()
                    };
                });
                return Ok(());
            };
            self.change(|state| {
                for document in &changed.documents {
                    let id = document.get("_id").and_then(Value::as_str);
                    if let (Some(id), Some(found)) = (id, Document::read(document)) {
                        state.tree.note(id, found);
                    }
                }
                if changed.complete {
                    state.confirmed = Some(begun);
                }
            });
            read_to.seq = changed.last_seq;
            if changed.complete {
                return Ok(());
            }
        }
    }

    /// Follows the database. Does not return.
    pub(super) async fn watch(&self) {
        let mut pause = PAUSE;
        loop {
            match timeout(WAIT * 2, self.wait()).await {
                Ok(Ok(())) => pause = PAUSE,
                Ok(Err(error)) => {
                    tracing::warn!(%error, db = %self.db, "nodes can't be followed");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(_) => tracing::warn!(db = %self.db, "nodes can't be followed in time"),
            }
        }
    }

    /// Waits for a change and reads it.
    async fn wait(&self) -> Result<(), CouchError> {
        let since = self.same_database().await?;
        let begun = Instant::now();
        let changes = self.couch.changes(&self.db, &since, Some(WAIT)).await?;
        let mut read_to = self.read_to.lock().await;
        if !changes.ids.is_empty() || read_to.seq != since {
            return self.read_on(&mut read_to).await;
        }
        self.change(|state| state.confirmed = Some(Instant::now()));
        read_to.seq = changes.last_seq;
        drop(read_to);
        if begun.elapsed() < PAUSE {
            // A server that does not wait must not be asked without end.
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Where to go on. A database that was deleted and made again is another one, which is read from its
    /// beginning: its changes tell nothing of what is not in it any more.
    async fn same_database(&self) -> Result<String, CouchError> {
        let info = self.couch.info(&self.db).await?;
        let made = info.and_then(|info| info.get("instance_start_time").cloned());
        let mut read_to = self.read_to.lock().await;
        if read_to.made.is_some() && read_to.made != made {
            tracing::warn!(db = %self.db, "the database of nodes is another one now");
            *read_to = Place::beginning();
            self.change(|state| *state = State::default());
            self.read_on(&mut read_to).await?;
        }
        read_to.made = made;
        Ok(read_to.seq.clone())
    }
}
