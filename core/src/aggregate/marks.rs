//! Sets of changed symbols, as places in a list: cheap to add to with every record.

/// Which symbols have changed since somebody last asked.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Each once, in the order of the first change.
    order: Vec<usize>,
    /// By symbol.
    marked: Vec<bool>,
}

impl Marks {
    pub(super) fn add(&mut self, index: usize) {
        if self.marked.len() <= index {
            self.marked.resize(index + 1, false);
        }
        if let Some(marked) = self.marked.get_mut(index)
            && !std::mem::replace(marked, true)
        {
            self.order.push(index);
        }
    }

    pub(super) fn take(&mut self) -> Vec<usize> {
        for index in &self.order {
            if let Some(marked) = self.marked.get_mut(*index) {
                *marked = false;
            }
        }
        let room = Vec::with_capacity(self.order.len());
        std::mem::replace(&mut self.order, room)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_until_it_is_taken() {
        let mut marks = Marks::default();
        for index in [3, 1, 3, 1, 2] {
            marks.add(index);
        }
        assert_eq!(marks.iter().collect::<Vec<_>>(), [3, 1, 2]);
        assert_eq!(marks.take(), [3, 1, 2]);
        assert!(marks.is_empty());
        marks.add(1);
        assert_eq!(marks.take(), [1]);
    }
}
