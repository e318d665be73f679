//! Renders next steps as commands.

use crate::app::NextAction;
use crate::matching::HostKey;

/// Returns the command for an action.
pub(super) fn command(next: &NextAction) -> String {
    let of = |what: &str, HostKey { company, host }: &HostKey| {
        format!("hostmatch {what} --company {company} --host {host}")
    };
    let letters = |what: String| format!("hostmatch deadletters {what}");
    match next {
        NextAction::AcceptSuggestion(key) => of("inbox accept", key),
        NextAction::ChooseSuggestion(key, _) => of("inbox accept", key) + " --staff ID",
        NextAction::AssignHost(key) => of("inbox assign", key) + " --staff ID",
        NextAction::AssignBooking(id) => format!("hostmatch bookings assign {id} --staff ID"),
        NextAction::RepairHost(key) => of("repair apply", key),
        NextAction::PassBooking => "pass the booking with --booking FILE".to_owned(),
        NextAction::PassBookingAndCompany => {
            "to explain a booking without an appointment, pass it with --booking FILE --company N".to_owned()
        }
        NextAction::MapUnseenHost(key) => of("mappings set --unseen", key) + " --staff ID",
        NextAction::MakePlan => letters("plan".to_owned()),
        NextAction::StartPlan(id) => letters(format!("replay --plan {id}")),
        NextAction::ResumeReplay(id) => letters(format!("replays resume {id}")),
        NextAction::PlanGroup(fingerprint) => letters(format!("plan --group {fingerprint}")),
        NextAction::ShowLetter(id) => letters(format!("show {id}")),
        NextAction::DiscardLetter(id) => letters(format!("discard --ids {id} --reason '…'")),
        NextAction::RestoreLetter(id) => letters(format!("restore --ids {id} --reason '…'")),
        NextAction::ReplayLetter(id) => letters(format!("replay --ids {id} --reason '…'")),
        NextAction::ExplainLetter(id) => {
            let show = letters(format!("show {id} --reveal --output json | jq .payload.value"));
            show + " | hostmatch match explain --booking -"
        }
        NextAction::ExplainBooking(uid) => {
            format!("hostmatch match explain --uid '{}'", uid.replace('\'', "'\\''"))
        }
    }
}
