//! The rules that can be broken, one at a time, to see that the simulation notices.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Stores keep whatever came last.
    TheLastRowWins,
    /// A candle's version is its number of trades, complete or not.
    CompletenessIsNoKnowledge,
    /// A checkpoint is saved when it is taken, whatever became of the rows before it.
    CheckpointsDoNotWait,
    /// What one store has acknowledged counts for the other.
    StoresShareCheckpoints,
    /// A checkpoint does not say which trades were seen.
    CheckpointsForgetIds,
    /// A checkpoint does not hold the windows that may still change.
    CheckpointsForgetWindows,
    /// A checkpoint claims one record more than was absorbed.
    CheckpointsAreAhead,
    /// Each feed appends to a partition of its own.
    FeedsHaveTheirOwnPartitions,
    /// Each ingestor numbers the trades as they come.
    TradesAreNumberedByUs,
    /// What no feed delivered stays missing.
    HolesStay,
    /// What is missing is declared lost without asking the exchange.
    LossNeedsNoProof,
}

impl Broken {
    pub(crate) const ALL: [Self; 11] = [
        Self::TheLastRowWins,
        Self::CompletenessIsNoKnowledge,
        Self::CheckpointsDoNotWait,
        Self::StoresShareCheckpoints,
        Self::CheckpointsForgetIds,
        Self::CheckpointsForgetWindows,
        Self::CheckpointsAreAhead,
        Self::FeedsHaveTheirOwnPartitions,
        Self::TradesAreNumberedByUs,
        Self::HolesStay,
        Self::LossNeedsNoProof,
    ];
}
