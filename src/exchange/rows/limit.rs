//! `skip` and `limit`, counted on what is shown.

use crate::exchange::redact::RowOutcome;

/// Which of the visible rows the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// How many visible rows are still to be passed over.
    pub(crate) skip: u64,
    /// How many are still to be shown; none when there is no limit.
    pub(crate) left: Option<u64>,
}

impl Window {
    /// Everything.
    pub(crate) const ALL: Self = Self {
        skip: 0,
        left: None,
    };

    /// Counts a visible row; `false` when it is not to be shown.
    pub(crate) fn take(&mut self, seen: RowOutcome) -> bool {
        match seen {
            RowOutcome::Hidden | RowOutcome::Pending => false,
            RowOutcome::Shown if self.skip > 0 => {
                self.skip -= 1;
                false
            }
            RowOutcome::Shown if self.is_full() => false,
            RowOutcome::Shown => {
                self.left = self.left.map(|left| left.saturating_sub(1));
                true
            }
        }
    }

    /// Whether nothing more is wanted.
    pub(crate) fn is_full(self) -> bool {
        self.left == Some(0)
    }

    /// How many visible rows are needed from now on, if there is a limit.
    pub(crate) fn needed(self) -> Option<u64> {
        self.left.map(|left| left.saturating_add(self.skip))
    }
}
