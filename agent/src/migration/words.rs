//! The hand-over's words on the wire. Source and destination share one enumeration there; what a record means
//! depends on whose it is.

use drover_agent_core::handover::{DestinationWord, SourceWord};
use drover_agent_core::power::WantedPower;
use drover_proto::v1::HandoverRecord;
use drover_types::PowerState;

/// A destination's word.
pub(super) const fn destination_record(word: DestinationWord) -> HandoverRecord {
    match word {
        DestinationWord::Unknown => HandoverRecord::None,
        DestinationWord::Prepared => HandoverRecord::Prepared,
        DestinationWord::Ready => HandoverRecord::Ready,
        DestinationWord::Acquired => HandoverRecord::Acquired,
        DestinationWord::Declined => HandoverRecord::Declined,
        DestinationWord::Discarded => HandoverRecord::Discarded,
    }
}

/// What a destination said; none where it said nothing that a destination says.
pub(super) const fn destination_word(record: HandoverRecord) -> Option<DestinationWord> {
    match record {
        HandoverRecord::None => Some(DestinationWord::Unknown),
        HandoverRecord::Prepared => Some(DestinationWord::Prepared),
        HandoverRecord::Ready => Some(DestinationWord::Ready),
        HandoverRecord::Acquired => Some(DestinationWord::Acquired),
        HandoverRecord::Declined => Some(DestinationWord::Declined),
        HandoverRecord::Discarded => Some(DestinationWord::Discarded),
        HandoverRecord::Unspecified | HandoverRecord::Released | HandoverRecord::Aborted => None,
    }
}

/// A source's word, and the power state that belongs to a release.
pub(super) const fn source_record(word: SourceWord) -> (HandoverRecord, Option<WantedPower>) {
    match word {
        SourceWord::Unknown => (HandoverRecord::None, None),
        SourceWord::Undecided => (HandoverRecord::Prepared, None),
        SourceWord::Released(power) => (HandoverRecord::Released, Some(power)),
        SourceWord::Acknowledged => (HandoverRecord::Acquired, None),
        SourceWord::Aborted => (HandoverRecord::Aborted, None),
        SourceWord::Reclaimed => (HandoverRecord::Declined, None),
    }
}

/// What a source said; none where it said nothing that a source says, or a release without a power state.
pub(super) fn source_word(record: HandoverRecord, power: &str) -> Option<SourceWord> {
    match record {
        HandoverRecord::None => Some(SourceWord::Unknown),
        HandoverRecord::Prepared => Some(SourceWord::Undecided),
        HandoverRecord::Released => wanted_power(power).map(SourceWord::Released),
        HandoverRecord::Acquired => Some(SourceWord::Acknowledged),
        HandoverRecord::Aborted => Some(SourceWord::Aborted),
        HandoverRecord::Declined => Some(SourceWord::Reclaimed),
        HandoverRecord::Unspecified | HandoverRecord::Ready | HandoverRecord::Discarded => None,
    }
}

/// libvirt's word for a wanted power state.
pub(super) const fn power_word(power: WantedPower) -> &'static str {
    match power {
        WantedPower::On => PowerState::Running.as_str(),
        WantedPower::Paused => PowerState::Paused.as_str(),
        WantedPower::Off => PowerState::Shutdown.as_str(),
    }
}

fn wanted_power(word: &str) -> Option<WantedPower> {
    WantedPower::ALL
        .iter()
        .copied()
        .find(|power| power_word(*power) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_the_wire() {
        for word in [
            DestinationWord::Unknown,
            DestinationWord::Prepared,
            DestinationWord::Ready,
            DestinationWord::Acquired,
            DestinationWord::Declined,
            DestinationWord::Discarded,
        ] {
            assert_eq!(destination_word(destination_record(word)), Some(word));
        }
        for word in [
            SourceWord::Unknown,
            SourceWord::Undecided,
            SourceWord::Released(WantedPower::On),
            SourceWord::Released(WantedPower::Paused),
            SourceWord::Released(WantedPower::Off),
            SourceWord::Acknowledged,
            SourceWord::Aborted,
            SourceWord::Reclaimed,
        ] {
            let (record, power) = source_record(word);
            assert_eq!(source_word(record, power.map_or("", power_word)), Some(word));
        }
        assert_eq!(
            source_word(HandoverRecord::Released, ""),
            None,
            "a release needs its power state"
        );
        assert_eq!(destination_word(HandoverRecord::Released), None);
    }
}
