//! Python bindings of NEAT: the list of exports. No algorithm lives here.

use pyo3::prelude::*;

mod corpus;
mod error;
mod prepare;
mod stream;

#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::corpus::{Corpus, Documents, inspect};
    #[pymodule_export]
    use crate::stream::WindowStream;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
