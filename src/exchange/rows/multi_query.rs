//! The answers to several queries, one after the other, inside `{"results":[…]}`.
//!
//! Invariant: one inner answer is on its way at a time, and is what its single endpoint would answer; an inner
//! query that fails cuts the whole.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;

use super::answer::rows;
use super::stream::{MOST_HELD, Prepared, Rows};
use crate::body::{Body, Cut, boxed};
use crate::budget::Share;
use crate::exchange::answer::Answer;
use crate::exchange::context::Context;
use crate::refusal::Refusal;

/// What an inner query that can match nothing answers.
pub(crate) const NOTHING: &[u8] = b"{\"rows\":[\r\n\r\n]}\n";

/// What a query that waits takes, or a range of one.
const RANGE: usize = 1024;

/// Answers each; a refusal of the first one is the answer to all.
pub(crate) async fn answer(context: Context, queries: Vec<Prepared>) -> Result<Answer, Refusal> {
    let mut share = context.share();
    let ranges = |prepared: &Prepared| {
        prepared
            .as_ref()
            .map_or(0, |(_, recipe)| recipe.pages.ranges())
    };
    let ranges: usize = queries
        .iter()
        .map(|one| ranges(one).saturating_add(1))
        .sum();
    let waiting = ranges.saturating_mul(RANGE);
    share.add(waiting)?;
    let mut several = Several {
        share,
        context: Arc::new(context),
        waiting: queries.into(),
        current: None,
        out: b"{\"results\":[".to_vec(),
        answered: 0,
        done: false,
    };
    let sums = |prepared: &Prepared| {
        let recipe = prepared.as_ref().map(|(_, recipe)| recipe);
        recipe.is_some_and(|recipe| recipe.filter.adds_up())
    };
    let waits = several.waiting.iter().any(sums);
    if let Some(prepared) = several.waiting.pop_front() {
        several.begin(prepared).await?;
    }
    // As for one query alone.
    while waits && !several.done && several.out.len() < MOST_HELD {
        several.step().await.map_err(Cut::refusal)?;
        let held = several.share.set(waiting.saturating_add(several.out.len()));
        held?;
    }
    let chunks = stream::try_unfold(several, |mut several| async move {
        let chunk = several.next().await?;
        Ok(chunk.map(|chunk| (BodyFrame::data(chunk), several)))
    });
    let body: Body = boxed(StreamBody::new(chunks));
    Ok(Answer::of(
        StatusCode::OK,
        crate::exchange::head::filtered(),
        body,
    ))
}

struct Several {
    share: Share,
    context: Arc<Context>,
    waiting: VecDeque<Prepared>,
    current: Option<Rows>,
    out: Vec<u8>,
    answered: usize,
    done: bool,
}

impl Several {
    async fn next(&mut self) -> Result<Option<Bytes>, Cut> {
        while self.out.is_empty() && !self.done {
            self.step().await?;
        }
        let out = mem::take(&mut self.out);
        Ok((!out.is_empty()).then(|| Bytes::from(out)))
    }

    /// The next chunk of an answer, the next answer, or the end.
    async fn step(&mut self) -> Result<(), Cut> {
        if let Some(rows) = &mut self.current {
            match rows.next().await? {
                Some(chunk) => self.out.extend_from_slice(&chunk),
                None => self.current = None,
            }
            return Ok(());
        }
        match self.waiting.pop_front() {
            Some(prepared) => {
                let begun = self.begin(prepared).await;
                begun.map_err(|refusal| Cut::later(&refusal))
            }
            None => {
                self.done = true;
                self.out.extend_from_slice(b"\r\n]}\n");
                Ok(())
            }
        }
    }

    /// Asks for the first part of one answer.
    async fn begin(&mut self, prepared: Prepared) -> Result<(), Refusal> {
        let next = match prepared {
            Some((part, recipe)) => {
                Some(Box::pin(rows(Arc::clone(&self.context), part, recipe)).await?)
            }
            None => None,
        };
        let before: &[u8] = if self.answered == 0 {
            b"\r\n"
        } else {
            b",\r\n"
        };
        self.out.extend_from_slice(before);
        self.answered += 1;
        if next.is_none() {
            self.out.extend_from_slice(NOTHING);
        }
        self.current = next;
        Ok(())
    }
}
