//! Logging in and out, before it is known who asks.

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};

use super::{Pipeline, text};
use crate::intake::Intake;
use crate::refusal::Refusal;
use crate::route::Method;
use crate::services::session::Answer as SessionAnswer;

impl Pipeline {
    /// `POST` and `DELETE` of `/_session`, and these and `PUT` of `/session`.
    pub(super) async fn session(
        &self,
        method: Method,
        intake: Intake,
    ) -> Result<SessionAnswer, Refusal> {
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
            return Ok(self.session.logout(jar).await);
        }
        let content_type = text(&intake, &CONTENT_TYPE);
        let authorization = text(&intake, &AUTHORIZATION);
        let address = intake.address;
        let body = intake.body.collect(64 * 1024).await?;
        let authorization = authorization.as_deref().map(str::as_bytes);
        let content_type = content_type.as_deref();
        let login = self
            .session
            .login(content_type, &body, authorization, address);
        login.await
    }
}
