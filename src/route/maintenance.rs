//! The endpoints that keep a database in order.
//!
//! Invariant: all of them are nobody's but an administrator's, unless a rule names the action.

use super::Maintenance;

impl Maintenance {
    /// The endpoints that are one word.
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "_view_cleanup" => Some(Self::ViewCleanup),
            "_search_cleanup" => Some(Self::SearchCleanup),
            "_nouveau_cleanup" => Some(Self::NouveauCleanup),
            "_purge" => Some(Self::Purge),
            "_purged_infos" => Some(Self::PurgedInfos),
            "_purged_infos_limit" => Some(Self::PurgedInfosLimit),
            "_revs_limit" => Some(Self::RevsLimit),
            "_sync_shards" => Some(Self::SyncShards),
            "_auto_purge" => Some(Self::AutoPurge),
            "_time_seq" => Some(Self::TimeSeq),
            _ => None,
        }
    }

    pub(super) fn methods(&self) -> &'static str {
        match self {
            Self::Compact
            | Self::CompactViews(_)
            | Self::ViewCleanup
            | Self::SearchCleanup
            | Self::NouveauCleanup
            | Self::Purge
            | Self::SyncShards => "POST",
            Self::PurgedInfos | Self::Shards | Self::ShardOf(_) => "GET",
            Self::PurgedInfosLimit => "GET,PUT",
            Self::RevsLimit => "PUT,GET",
            Self::AutoPurge => "GET,PUT,HEAD",
            Self::TimeSeq => "GET,DELETE",
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Compact => "/{db}/_compact",
            Self::CompactViews(_) => "/{db}/_compact/{ddoc}",
            Self::ViewCleanup => "/{db}/_view_cleanup",
            Self::SearchCleanup => "/{db}/_search_cleanup",
            Self::NouveauCleanup => "/{db}/_nouveau_cleanup",
            Self::Purge => "/{db}/_purge",
            Self::PurgedInfos => "/{db}/_purged_infos",
            Self::PurgedInfosLimit => "/{db}/_purged_infos_limit",
            Self::RevsLimit => "/{db}/_revs_limit",
            Self::Shards => "/{db}/_shards",
            Self::ShardOf(_) => "/{db}/_shards/{docid}",
            Self::SyncShards => "/{db}/_sync_shards",
            Self::AutoPurge => "/{db}/_auto_purge",
            Self::TimeSeq => "/{db}/_time_seq",
        }
    }
}
