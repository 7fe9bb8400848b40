//! A finding made small: fewer documents and leaves, fewer rules, a shorter request, as long as the answers differ.

use super::requests::Request;
use super::run::{self, Difference, Round};

/// So often a smaller case is tried.
const TRIES: usize = 80;

impl Round {
    /// One finding, to be read and repeated by hand.
    pub(super) fn tell(&self, told: &str) -> String {
        let mut text = format!("rules:{}\ndocuments:\n", self.rules.text());
        for row in super::model::everything(&self.data).concat() {
            text += &format!("  {row}\n");
        }
        for request in &self.requests {
            let body = request
                .body
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            text += &format!(
                "{} {} {body} (beside `{}`)\n",
                request.method,
                request.target(),
                request.twin.name()
            );
        }
        for row in &self.hidden {
            text += &format!("meanwhile {row}\n");
        }
        format!("{text}{told}\n")
    }

    fn simpler(&self) -> Vec<Self> {
        let mut all = Vec::new();
        if !self.hidden.is_empty() {
            all.push(Self {
                hidden: Vec::new(),
                ..self.clone()
            });
        }
        let documents = &self.data.documents;
        for (at, document) in documents.iter().enumerate() {
            all.push(Self {
                data: self.data.without(at, None),
                ..self.clone()
            });
            if document.leaves.len() > 1 {
                for leaf in 0..document.leaves.len() {
                    all.push(Self {
                        data: self.data.without(at, Some(leaf)),
                        ..self.clone()
                    });
                }
            }
        }
        all.extend(self.rules.simpler().into_iter().map(|rules| Self {
            rules,
            ..self.clone()
        }));
        let requests = self
            .requests
            .first()
            .map(Request::simpler)
            .unwrap_or_default();
        all.extend(requests.into_iter().map(|request| Self {
            requests: vec![request],
            ..self.clone()
        }));
        all
    }
}

/// The smallest case found, and what its answers are.
pub(super) async fn shrink(round: &Round, difference: &Difference) -> (Round, String) {
    let mut smallest = Round {
        requests: vec![difference.request.clone()],
        ..round.clone()
    };
    let mut told = difference.told.clone();
    let mut tries = super::number("DIFFERENTIAL_KEPT").map_or(0, |_| TRIES);
    'smaller: while tries < TRIES {
        for next in smallest.simpler() {
            tries += 1;
            if tries >= TRIES {
                break;
            }
            if let Some(found) = Box::pin(run::run(&next)).await.found.into_iter().next() {
                smallest = next;
                told = found.told;
                continue 'smaller;
            }
        }
        break;
    }
    (smallest, told)
}
