//! Answers that are made of rows: what is asked first, and what the client gets.

use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::frame::Layout;
use super::meanwhile::Meanwhile;
use super::reply::Reply;
use super::stream::{Recipe, Rows};
use crate::exchange::answer::{Answer, EVENTS, JSON};
use crate::exchange::context::Context;
use crate::exchange::head;
use crate::exchange::rewrite::Subrequest;
use crate::refusal::Refusal;

/// Asks for the first part; the rows follow as they come.
pub(crate) async fn rows_answer(
    context: Arc<Context>,
    part: Subrequest,
    recipe: Recipe,
) -> Result<Answer, Refusal> {
    let events = recipe.layout == Layout::Events;
    let rows = Box::pin(rows(context, part, recipe)).await?;
    let answer = streamed(rows);
    Ok(match events {
        true => answer.header(CONTENT_TYPE, EVENTS),
        false => answer,
    })
}

/// Rows as JSON, as they come.
pub(crate) fn streamed(rows: Rows) -> Answer {
    let mut headers = head::filtered();
    headers.insert(CONTENT_TYPE, JSON);
    Answer::of(StatusCode::OK, headers, rows.into_body())
}

/// Asks for the first part of rows, and before it, where it matters, of what moment they are.
pub(crate) async fn rows(
    context: Arc<Context>,
    part: Subrequest,
    recipe: Recipe,
) -> Result<Rows, Refusal> {
    let meanwhile = match recipe.filter.is_of_two_moments() {
        true => Some(Meanwhile::begin(&context.couch, &context.db).await?),
        false => None,
    };
    let body = recipe
        .filter
        .ask(&context, part, recipe.pages.range())
        .await?;
    let reply = Reply::Begun(body);
    Ok(Rows::new(context, recipe, meanwhile, reply))
}
