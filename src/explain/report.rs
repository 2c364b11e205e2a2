//! An explanation: as text for a terminal, as JSON for programs.

use serde::Serialize;
use serde_json::json;

use crate::cache::Inspection;
use crate::check::report::{CheckStep, Finding, StepState, write_line};
use crate::explain::outcome::ClientAnswer;
use crate::explain::store_answer::StoreAnswer;
use crate::response::refusal::Refusal;
use crate::s3::address::ObjectAddress;
use crate::terminal::Paint;

/// A step of a check, with further lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnnotatedStep {
    #[serde(flatten)]
    pub step: CheckStep,
    pub notes: Vec<String>,
}

impl From<CheckStep> for AnnotatedStep {
    fn from(step: CheckStep) -> Self {
        Self { step, notes: Vec::new() }
    }
}

/// The steps and the answer for one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The object, or the argument if it names none.
    name: String,
    steps: Vec<AnnotatedStep>,
    pub(super) address: Option<ObjectAddress>,
    /// The `s3://` name of the object that it stands for, if an alias applies.
    pub(super) aliased: Option<String>,
    pub(super) cached: Option<Inspection>,
    pub(super) store: Option<StoreAnswer>,
    answer: Option<ClientAnswer>,
}

impl Explanation {
    /// An explanation that begins with the steps of a check.
    pub(super) fn new(name: String, steps: Vec<CheckStep>) -> Self {
        let steps = steps.into_iter().map(AnnotatedStep::from).collect();
        Self { name, steps, address: None, aliased: None, cached: None, store: None, answer: None }
    }

    /// The object, or the argument if it names none.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a client would get an object.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.served)
    }

    pub(super) fn step(&self, name: &str) -> Option<&Finding> {
        self.find(name).and_then(|at| Some(&self.steps.get(at)?.step.finding))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.step.name == name)
    }

    /// Adds a step before all others.
    pub(super) fn put_first(&mut self, step: CheckStep) {
        self.steps.insert(0, step.into());
    }

    /// Adds steps after the one of this name.
    pub(super) fn put_after(&mut self, name: &str, steps: Vec<AnnotatedStep>) {
        let at = self.find(name).map_or(self.steps.len(), |at| at + 1);
        self.steps.splice(at..at, steps);
    }

    /// Replaces the step of the same name, or adds the step before the answer.
    pub(super) fn put(&mut self, step: AnnotatedStep) {
        match self.find(step.step.name) {
            Some(at) => drop(self.steps.splice(at..=at, [step])),
            None => {
                let at = self.find("answer").unwrap_or(self.steps.len());
                self.steps.insert(at, step);
            }
        }
    }

    /// Adds lines to the step of this name, if there is one.
    pub(super) fn note(&mut self, name: &str, notes: Vec<String>) {
        if let Some(step) = self.steps.iter_mut().find(|step| step.step.name == name) {
            step.notes.extend(notes);
        }
    }

    /// Ends the explanation with the answer to a client.
    pub(super) fn conclude(&mut self, answer: ClientAnswer, notes: Vec<String>) {
        let step = CheckStep::new("answer", answer.finding.clone());
        self.put(AnnotatedStep { step, notes });
        self.answer = Some(answer);
    }

    /// The reason why no object is served: the last step that failed before the answer.
    fn reason(&self) -> Option<&Finding> {
        let answer = self.step("answer").filter(|finding| finding.fix.is_some());
        let others = self.steps.iter().filter(|step| step.step.name != "answer");
        let mut findings = others.map(|step| &step.step.finding);
        answer.or_else(|| findings.rfind(|finding| finding.state == StepState::Failed))
    }

    /// Lines for a terminal.
    #[must_use]
    pub fn to_text(&self, paint: Paint) -> String {
        let mut out = String::new();
        write_line(&mut out, &self.name);
        for AnnotatedStep { step, notes } in &self.steps {
            step.write_finding(&mut out, paint);
            for note in notes {
                write_line(&mut out, &format!("{:25}{note}", ""));
            }
            step.write_fix(&mut out);
        }
        out
    }

    /// `{"object", "served", "status", "cause", "from", "why", "fix", "address": {"profile", "bucket",
    /// "key"}, "target", "kept": {"memory", "disk", "shared", "fetch_under_way"}, "store": {...}, "steps": [{"name",
    /// "state", "detail", "fix", "milliseconds", "notes"}]}`. Keys stay, and the values of `cause`,
    /// `from`, `state` and a step's `name`; `why`, `detail`, `fix` and `notes` are texts and may
    /// change.
    #[must_use]
    pub fn to_json(&self) -> String {
        let answer = self.answer.as_ref();
        let reason = self.reason().filter(|_| !self.is_served());
        let document = json!({
            "object": self.name,
            "served": self.is_served(),
            "status": answer.and_then(|answer| answer.status),
            "cause": answer.and_then(|answer| answer.refusal.as_ref()).map(Refusal::cause),
            "from": answer.and_then(|answer| answer.from),
            "why": reason.map(|reason| &reason.detail),
            "fix": reason.and_then(|reason| reason.fix.as_ref()),
            "address": self.address.as_ref().map(|address| json!({
                "profile": address.profile,
                "bucket": address.bucket,
                "key": address.key,
            })),
            "target": self.aliased,
            "kept": self.cached,
            "store": self.store,
            "steps": self.steps,
        });
        format!("{document:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::outcome::no_object;

    fn explanation() -> Explanation {
        let failed = Finding::failed("there is no such profile", "correct the name");
        let steps = vec![
            CheckStep::new("address", Finding::ok("profile hips")),
            CheckStep::new("endpoint", failed),
            CheckStep::new("answer", Finding::ok("to be replaced")),
        ];
        Explanation::new("s3://hips@bkt/k\u{1b}.png".to_owned(), steps)
    }

    #[test]
    fn the_text_has_a_line_for_each_step_and_each_note() {
        let mut explanation = explanation();
        explanation.note("address", vec!["decoded once: %20 (space)".to_owned()]);
        explanation.note("nowhere", vec!["lost".to_owned()]);
        explanation
            .put_after("address", vec![CheckStep::new("cache", Finding::skipped("off")).into()]);
        explanation.put(CheckStep::new("sent", Finding::ok("GET http://x/")).into());
        explanation.conclude(no_object(404), vec!["its body".to_owned()]);
        let pad = " ".repeat(25);
        assert_eq!(
            explanation.to_text(Paint::Plain),
            format!(
                "s3://hips@bkt/k\\u{{1b}}.png\n\
                 \x20 ok       address       profile hips\n\
                 {pad}decoded once: %20 (space)\n\
                 \x20 skipped  cache         off\n\
                 \x20 FAILED   endpoint      there is no such profile\n\
                 {pad}fix: correct the name\n\
                 \x20 ok       sent          GET http://x/\n\
                 \x20 FAILED   answer        404: the path names no object\n\
                 {pad}its body\n"
            )
        );
    }

    #[test]
    fn the_json_says_why_and_what_to_do() {
        let mut explanation = explanation();
        explanation.conclude(no_object(404), Vec::new());
        let json: serde_json::Value = serde_json::from_str(&explanation.to_json()).expect("JSON");
        assert_eq!(json["served"], false);
        assert_eq!((&json["status"], &json["from"]), (&404.into(), &"gateway".into()));
        assert_eq!(json["why"], "there is no such profile");
        assert_eq!(json["fix"], "correct the name");
        let names: Vec<_> = json["steps"].as_array().into_iter().flatten().collect();
        assert_eq!(names.len(), 3);
        assert_eq!(names[0]["notes"], serde_json::json!([]));
    }
}
