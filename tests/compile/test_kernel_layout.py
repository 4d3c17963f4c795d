"""XLA's structs as the installed jaxlib's header has them, and headers in which they are not so."""

import pytest

from pbpk.compile.xla.layout import find_disagreement, read_installed_header


@pytest.fixture(scope="module")
def header():
    return read_installed_header()


def test_the_installed_header_agrees(header):
    assert find_disagreement(header) == ""


@pytest.mark.parametrize(
    "before, after, says",
    [
        ("  void* data;\n  int64_t rank;", "  int64_t rank;\n  void* data;", "XLA_FFI_Buffer.data"),
        ("  int64_t rank;\n", "  int32_t rank;\n  int32_t more;\n  size_t further;\n", "XLA_FFI_Buffer.dims"),
        ("XLA_FFI_DataType_F64 = 12", "XLA_FFI_DataType_F64 = 13", "XLA_FFI_DataType_F64"),
        ("  XLA_FFI_ExecutionStage stage;\n", "  size_t a;\n  size_t stage;\n", "XLA_FFI_CallFrame.args"),
        ("  _XLA_FFI_API_STRUCT_FIELD(XLA_FFI_Type_Register);\n", "", "XLA_FFI_ThreadPool_Schedule"),
        ("  _XLA_FFI_API_STRUCT_FIELD(XLA_FFI_Stream_Get);\n", "", "XLA_FFI_Stream_Get"),
        ("COMMAND_BUFFER_COMPATIBLE = 1u << 0", "COMMAND_BUFFER_COMPATIBLE = 1u << 1", "COMMAND_BUFFER_COMPATIBLE"),
        (
            "struct XLA_FFI_Metadata {\n  size_t struct_size;",
            "struct XLA_FFI_Metadata {\n",
            "XLA_FFI_Metadata.api_version",
        ),
        ("XLA_FFI_API_MAJOR 0", "XLA_FFI_API_MAJOR 1", "XLA_FFI_API_MAJOR"),
        ("XLA_FFI_API_MINOR", "XLA_FFI_API_LESSER", "version"),
        ("struct XLA_FFI_Args {", "struct XLA_FFI_Other {", "not understood"),
    ],
)
def test_any_change_of_what_is_used_is_found(header, before, after, says):
    assert before in header
    assert says in find_disagreement(header.replace(before, after))
