//! Python bindings of NEAT: the list of exports. No algorithm lives here.

#![allow(clippy::needless_pass_by_value, reason = "PyO3 extracts arguments by value")]
#![allow(clippy::doc_markdown, reason = "the documentation of exports is read in Python")]

use pyo3::prelude::*;

mod corpus;
mod document;
mod dynamics;
mod error;
mod ngram;
mod prepare;
mod reader;
mod stream;

#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::corpus::{Corpus, Documents, column, inspect};
    #[pymodule_export]
    use crate::document::Document;
    #[pymodule_export]
    use crate::dynamics::{DivergenceMonitor, Dynamics};
    #[pymodule_export]
    use crate::ngram::{CrossFit, NgramModel, Patcher};
    #[pymodule_export]
    use crate::prepare::Preparer;
    #[pymodule_export]
    use crate::reader::Reader;
    #[pymodule_export]
    use crate::stream::WindowStream;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
