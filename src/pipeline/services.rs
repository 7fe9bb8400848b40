//! Requests that couchwarden answers by itself, and what its services have to do with the others.

use std::net::IpAddr;

use super::{LAST_EVENT_ID, Pipeline, text};
use crate::caller::Caller;
use crate::filter::answer::Answer;
use crate::filter::lease::Lease;
use crate::identity::Recognised;
use crate::inspect;
use crate::intake::Intake;
use crate::json::Value;
use crate::policy::{Permit, Policy};
use crate::refusal::Refusal;
use crate::route::{Call, DbName, ServerCall, WardenCall, leads_to_own_database};

impl Pipeline {
    /// Our own services.
    pub(super) async fn own(
        &self,
        policy: &Policy,
        permit: Permit,
        lease: Option<Lease>,
        intake: Intake,
    ) -> Result<Answer, Refusal> {
        match &permit.route().call {
            Call::Server(call) => {
                let body = intake.body.collect(self.limits.body).await?;
                self.own
                    .server(&self.couch, policy, &permit, call, body)
                    .await
            }
            Call::Node(call) => self.node(policy, &permit, call, intake).await,
            Call::Warden(call) => self.warden(permit.caller(), call, lease, intake).await,
            Call::Database { .. } | Call::NodeSession => Err(Refusal::Internal),
        }
    }

    /// Security: no replication is started that reads or writes what couchwarden keeps for itself
    /// (`no_replication_names_the_database_of_couchwarden`).
    pub(super) async fn replicates_nothing_of_ours(
        &self,
        intake: Intake,
    ) -> Result<Intake, Refusal> {
        let (intake, body) = self.whole(intake).await?;
        let replication = inspect::value(&body)?;
        let ends = ["source", "target"].map(|end| replication.get(end));
        let ours = |end: &Value| {
            let url = end.as_str().or_else(|| end.get("url")?.as_str());
            url.is_some_and(leads_to_own_database)
        };
        if ends.into_iter().flatten().any(ours) {
            return Err(Refusal::Forbidden("this database is couchwarden's own"));
        }
        Ok(intake.with_body(body, &self.limits))
    }

    /// Security: no shard is split of the database that couchwarden keeps for itself
    /// (`no_shard_of_the_database_of_couchwarden_is_split`).
    pub(super) async fn splits_nothing_of_ours(&self, intake: Intake) -> Result<Intake, Refusal> {
        let (intake, body) = self.whole(intake).await?;
        if body.is_empty() {
            return Ok(intake);
        }
        let job = inspect::value(&body)?;
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
        Ok(intake.with_body(body, &self.limits))
    }

    async fn warden(
        &self,
        caller: &Caller,
        call: &WardenCall,
        lease: Option<Lease>,
        intake: Intake,
    ) -> Result<Answer, Refusal> {
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
                let lease = lease.ok_or(Refusal::Internal)?;
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
    pub(super) async fn tell_denied(&self, caller: &Caller, db: &DbName, ids: Vec<String>) {
        if let Some(provisioning) = &self.provisioning {
            provisioning.denied(caller, db, &ids).await;
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

/// Lists of databases are made here for everybody, since CouchDB's have our own one in them.
pub(super) fn lists_databases(call: &Call) -> bool {
    matches!(call, Call::Server(ServerCall::AllDbs | ServerCall::DbsInfo))
}
