//! Logging in and out, before it is known who asks.

use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};

use super::{Pipeline, text};
use crate::filter::answer::Answer;
use crate::intake::Intake;
use crate::refusal::Refusal;
use crate::route::{Call, Method, Route, ServerCall};

impl Pipeline {
    /// `POST` and `DELETE` of `/_session`, and these and `PUT` of `/session`.
    pub(super) async fn session(
        &self,
        method: Method,
        intake: Intake,
        cookie: &mut Option<String>,
    ) -> Result<Answer, Refusal> {
        // Security: a foreign page may not log its reader in under a name of its own choosing, nor out.
        // (`a_foreign_page_logs_nobody_in_or_out`)
        if self
            .cors
            .is_foreign(&intake.headers, intake.tls, &intake.host)
        {
            return Err(Refusal::Forbidden("this origin may not use the session"));
        }
        if method == Method::Delete {
            let jar = text(&intake, &COOKIE);
            self.logged_out(jar.as_deref(), intake.address).await;
            let jar = jar.as_deref().map(str::as_bytes);
            let answer = self.session.logout(jar).await;
            return Ok(session_answer(answer, cookie));
        }
        let content_type = text(&intake, &CONTENT_TYPE);
        let authorization = text(&intake, &AUTHORIZATION);
        let address = intake.address;
        let body = intake.body.collect(64 * 1024).await?;
        let authorization = authorization.as_deref().map(str::as_bytes);
        let answer = self
            .session
            .login(content_type.as_deref(), &body, authorization, address)
            .await?;
        Ok(session_answer(answer, cookie))
    }
}

/// Logging in and out needs no identity: a stale cookie must keep nobody from it.
pub(super) fn opens_session(route: &Route) -> bool {
    let session = match &route.call {
        Call::Server(call) => matches!(call, ServerCall::Session),
        Call::NodeSession => true,
        Call::Database { .. } | Call::Node(_) | Call::Warden(_) => false,
    };
    session && matches!(route.method, Method::Post | Method::Put | Method::Delete)
}

/// The answer, and its cookie where the pipeline will look for it.
pub(super) fn session_answer(
    answer: crate::session::Answer,
    cookie: &mut Option<String>,
) -> Answer {
    if let Some(made) = answer.set_cookie {
        *cookie = Some(made.as_str().to_owned());
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    Answer::with(status, answer.body)
}
