//! What others see of the indices, through a client that is not the store's.
