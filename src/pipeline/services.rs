//! Requests that couchwarden answers by itself, and what its services have to do with the others.

use std::iter;
use std::net::IpAddr;

use http::header::CONTENT_TYPE;

use super::{Pipeline, text};
use crate::caller::{Caller, UserName};
use crate::exchange::answer::Answer;
use crate::exchange::parts::multipart::is_multipart;
use crate::exchange::{LAST_EVENT_ID, Permitted};
use crate::identity::Recognised;
use crate::intake::Intake;
use crate::intake::json_body;
use crate::json::Value;
use crate::policy::{Plan, Policy};
use crate::refusal::Refusal;
use crate::route::{DbName, ReshardCall, ServerCall, WardenCall, leads_to_own_database};

impl Pipeline {
    /// Calls of the server level: passed on, or answered here. Lists of databases are made here for everybody, since
    /// CouchDB's have our own one in them.
    pub(super) async fn server(
        &self,
        policy: &Policy,
        mut request: Permitted,
        call: &ServerCall,
    ) -> Result<Answer, Refusal> {
        let here = match request.permit.plan() {
            Plan::Here => true,
            Plan::Verbatim => matches!(call, ServerCall::AllDbs | ServerCall::DbsInfo),
            Plan::Read(_) | Plan::Write(_) | Plan::KeepInTombstones(_) => {
                return Err(Refusal::Internal(
                    "policy gave this call another plan than it is served by",
                ));
            }
        };
        if here {
            let Permitted { permit, intake, .. } = request;
            let body = intake.body.collect(self.exchange.limits.body).await?;
            let couch = &self.exchange.couch;
            return self.own.server(couch, policy, &permit, call, body).await;
        }
        if matches!(call, ServerCall::Replicate) {
            request.intake = self.replicates_nothing_of_ours(request.intake).await?;
        }
        if matches!(call, ServerCall::Reshard(ReshardCall::Jobs)) {
            request.intake = self.splits_nothing_of_ours(request.intake).await?;
        }
        self.exchange.pass(request).await
    }

    /// Security: no replication is started that reads or writes what couchwarden keeps for itself
    /// (`no_replication_names_the_database_of_couchwarden`).
    async fn replicates_nothing_of_ours(&self, intake: Intake) -> Result<Intake, Refusal> {
        let (intake, body) = self.exchange.whole(intake).await?;
        let replication = json_body::value(&body)?;
        if names_ours(&replication) {
            return Err(Refusal::Forbidden("this database is couchwarden's own"));
        }
        Ok(intake.with_body(body, &self.exchange.limits))
    }

    /// Security: nor is one written down for CouchDB to start, in any form of writing
    /// (`no_document_of_a_replication_names_the_database_of_couchwarden`).
    pub(super) async fn writes_no_replication_of_ours(
        &self,
        mut request: Permitted,
    ) -> Result<Permitted, Refusal> {
        let kind = request.intake.header(&CONTENT_TYPE);
        if kind.is_some_and(is_multipart) {
            let reason = "documents of replications are written as JSON";
            return Err(Refusal::UnsupportedMedia(reason));
        }
        let (intake, body) = self.exchange.whole(request.intake).await?;
        if !body.is_empty() {
            let written = json_body::value(&body)?;
            let batch = written.get("docs").and_then(Value::as_array);
            let mut documents = iter::once(&written).chain(batch.into_iter().flatten());
            if documents.any(names_ours) {
                return Err(Refusal::Forbidden("this database is couchwarden's own"));
            }
        }
        request.intake = intake.with_body(body, &self.exchange.limits);
        Ok(request)
    }

    /// Security: no shard is split of the database that couchwarden keeps for itself
    /// (`no_shard_of_the_database_of_couchwarden_is_split`).
    async fn splits_nothing_of_ours(&self, intake: Intake) -> Result<Intake, Refusal> {
        let (intake, body) = self.exchange.whole(intake).await?;
        if body.is_empty() {
            return Ok(intake);
        }
        let job = json_body::value(&body)?;
        let text = |name: &str| job.get(name).and_then(Value::as_str).unwrap_or_default();
        // `shards/00000000-7fffffff/name.1234567890`; no name of a database has a dot.
        let shard = text("shard").rsplit('/').next().unwrap_or_default();
        let of_shard = shard.split('.').next().unwrap_or_default();
        if [text("db"), of_shard]
            .into_iter()
            .any(leads_to_own_database)
        {
            return Err(Refusal::Forbidden("this database is couchwarden's own"));
        }
        Ok(intake.with_body(body, &self.exchange.limits))
    }

    /// Our own services.
    pub(super) async fn warden(
        &self,
        request: Permitted,
        call: &WardenCall,
    ) -> Result<Answer, Refusal> {
        let Permitted {
            permit,
            lease,
            intake,
            ..
        } = request;
        let caller = permit.caller();
        let provisioning = self.provisioning.as_ref().ok_or(Refusal::NoEndpoint)?;
        let last = text(&intake, &LAST_EVENT_ID);
        drop(intake);
        match call {
            WardenCall::Provisioning => {
                let db = provisioning.provision(caller).await?;
                Ok(crate::own::provisioned(&db))
            }
            WardenCall::Voicemail(db) => {
                provisioning.voicemail(caller, db).await?;
                Ok(crate::own::done())
            }
            WardenCall::ProvisioningEvents => {
                let events = provisioning.events(caller, last.as_deref())?;
                let lease = lease.ok_or(Refusal::Internal("a feed without a lease"))?;
                Ok(Answer::events(lease.cut(events)))
            }
        }
    }

    /// A replication comes with a token of ours, which is good as long as the replication is.
    pub(super) async fn admit(
        &self,
        recognised: &Recognised,
        header: Option<String>,
    ) -> Result<(), Refusal> {
        match (&self.provisioning, header) {
            (Some(provisioning), Some(header)) if recognised.is_for_one_database() => {
                provisioning.admit(&recognised.caller, &header).await
            }
            (_, _) => Ok(()),
        }
    }

    /// Somebody who uses his own database keeps its replications alive.
    pub(super) async fn used(&self, caller: &Caller, db: Option<&DbName>) {
        if let (Some(provisioning), Some(db)) = (&self.provisioning, db) {
            provisioning.used(caller, db).await;
        }
    }

    /// Those who listen hear of what was not let in.
    pub(super) async fn tell_denied(&self, caller: &Caller, db: &DbName, ids: &[String]) {
        if let Some(provisioning) = &self.provisioning {
            provisioning.denied(caller, db, ids).await;
        }
    }

    /// May somebody open an account by this name?
    pub(super) async fn is_free(&self, name: &UserName) -> Result<bool, Refusal> {
        match &self.nodes {
            Some(nodes) => nodes.is_free(name).await,
            None => self.identity.is_free(name).await,
        }
    }

    /// His replications end with his session, where they are to. A session that is over already ends nothing.
    pub(super) async fn logged_out(&self, jar: Option<&str>, address: IpAddr) {
        let Some(provisioning) = &self.provisioning else {
            return;
        };
        let jar = jar.map(str::as_bytes);
        if let Ok(recognised) = self.identity.recognise(None, jar, address).await {
            provisioning.logged_out(&recognised.caller).await;
        }
    }
}

/// Has this replication an end that is couchwarden's own database?
fn names_ours(replication: &Value) -> bool {
    let ends = ["source", "target"].map(|end| replication.get(end));
    let ours = |end: &Value| {
        let url = end.as_str().or_else(|| end.get("url")?.as_str());
        url.is_some_and(leads_to_own_database)
    };
    ends.into_iter().flatten().any(ours)
}
