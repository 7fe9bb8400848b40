//! What the variables of a rule stand for, once a caller has matched it.
//!
//! Each matching role or name gives one binding; captures of one binding stay together.
//!
//! Invariant: a variable without a value has none; it is never the empty text.

/// The values of a rule's variables, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Binding(Vec<Option<Box<str>>>);

impl Binding {
    pub(in crate::policy) fn get(&self, number: usize) -> Option<&str> {
        self.0.get(number)?.as_deref()
    }

    pub(in crate::policy) fn set(&mut self, number: usize, text: &str) {
        if self.0.len() <= number {
            self.0.resize(number + 1, None);
        }
        if let Some(place) = self.0.get_mut(number) {
            *place = Some(text.into());
        }
    }

    /// Forgets what the rule captures but does not use.
    pub(in crate::policy) fn keep(&mut self, used: &[usize]) {
        for (number, value) in self.0.iter_mut().enumerate() {
            if !used.contains(&number) {
                *value = None;
            }
        }
        while self.0.last() == Some(&None) {
            self.0.pop();
        }
    }
}

/// A condition that may be beyond evaluation: a variable without a value, a pattern with two readings, a
/// document that is not known. What permits needs `Yes`; what forbids or hides acts on anything but `No`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Truth {
    No,
    Unknown,
    Yes,
}

impl Truth {
    pub(in crate::policy) fn is_yes(self) -> bool {
        self == Self::Yes
    }

    /// Something holds as soon as one of these does.
    pub(in crate::policy) fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut most = Self::No;
        for truth in truths {
            most = most.max(truth);
            if most == Self::Yes {
                break;
            }
        }
        most
    }

    /// Something holds when all of these do.
    pub(in crate::policy) fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut least = Self::Yes;
        for truth in truths {
            least = least.min(truth);
            if least == Self::No {
                break;
            }
        }
        least
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}
