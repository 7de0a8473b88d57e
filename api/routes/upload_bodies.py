"""What `/v1/uploads` takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from apiflask.fields import UploadFile
from pydantic import ConfigDict, Field

from api.answers import In, Out, Page
from api.fields import Flag, Number, Whole
from api.shapes import CircleOut
from geo.sheets.changes import RowState
from nearcast.services.upload_options import UploadOptions
from nearcast.store.uploads import UploadState

Code = Annotated[str, Field(max_length=64)]
Heading = Annotated[str, Field(max_length=1_000)]
SheetName = Annotated[str, Field(max_length=255)]
Mapping = Annotated[
    dict[Heading, Annotated[str, Field(max_length=64)] | None],
    Field(max_length=256, examples=[{"점포": "name", "내부메모": None}]),
]
RowNumber = Annotated[Whole, Field(ge=0, le=1_048_576)]
MAX_ACCEPTED_ROWS = 10_000


class RowAcceptIn(In):
    """Proposals to take for one row."""

    sheet: SheetName | None = None
    row: RowNumber
    codes: Annotated[list[Code], Field(min_length=1, max_length=20)]


class OptionsIn(In):
    """How a file is to be read; what is left out is found, and shown in the report."""

    group: Annotated[str | None, Field(max_length=200, description="for rows that name none")] = None
    radius_m: Annotated[Number | None, Field(description="for rows that give none")] = None
    brand: Annotated[str | None, Field(max_length=200)] = None
    category: Annotated[str | None, Field(max_length=200)] = None
    store: Annotated[str | None, Field(max_length=200)] = None
    tags: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)] = Field(
        default_factory=list
    )
    sheets: Annotated[
        list[SheetName] | None, Field(max_length=200, description="only these sheets or layers")
    ] = None
    encoding: Annotated[str | None, Field(max_length=40, description="of a CSV, such as cp949")] = None
    delimiter: Annotated[str | None, Field(max_length=1, description="of a CSV")] = None
    crs: Annotated[
        str | None, Field(max_length=64, description="of a geo file that does not say: EPSG:5181")
    ] = None
    grid: Annotated[
        str | None,
        Field(max_length=64, description="of columns in metres: EPSG:5174. Accepts that proposal."),
    ] = None
    heading_row: Annotated[
        RowNumber | None, Field(description="as Excel numbers it; 0: the sheet has no headings")
    ] = None
    heading_rows: Annotated[dict[SheetName, RowNumber], Field(max_length=200)] = Field(
        default_factory=dict
    )
    mapping: Annotated[Mapping, Field(description="heading → column, or null: do not use it")] = Field(
        default_factory=dict
    )
    sheet_mappings: Annotated[dict[SheetName, Mapping], Field(max_length=200)] = Field(
        default_factory=dict
    )
    remembered: Annotated[
        Flag, Field(description="use the mapping of an earlier upload with the same headings")
    ] = True
    accept: Annotated[
        list[Code], Field(max_length=50, description="take the proposals of these codes in all rows")
    ] = Field(default_factory=list)
    accept_rows: Annotated[list[RowAcceptIn], Field(max_length=MAX_ACCEPTED_ROWS)] = Field(
        default_factory=list
    )
    countries: Annotated[
        list[Annotated[str, Field(pattern="^[A-Z]{2}$")]] | None,
        Field(max_length=250, description="ISO 3166 codes; left out: the workspace's"),
    ] = None
    missing: Annotated[
        Literal["keep", "delete"],
        Field(description="what becomes of fences of the file's groups that it does not name"),
    ] = "keep"

    def to_options(self) -> UploadOptions:
        """The options as the services take them."""
        return UploadOptions.from_json(self.model_dump())


class UploadIn(In):
    """A file, and what there is to say about it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    file: UploadFile
    kind: Literal["fences"] = "fences"
    group: Annotated[str | None, Field(description="the same as in options")] = None
    radius_m: float | None = None
    options: Annotated[
        str | None, Field(description="JSON, as the body of :check", examples=['{"grid":"EPSG:5174"}'])
    ] = None


class UndoIn(In):
    """How to undo."""

    leave_edited: Annotated[
        bool, Field(description="leave fences that were edited since, and undo the rest")
    ] = False


class RowsQuery(Page):
    """Which lines of a review."""

    status: Annotated[RowState | None, Field(description="all, if left out")] = None
    code: Annotated[Code | None, Field(description="only rows with a problem of this code")] = None


class FileSheetOut(Out):
    """A sheet or layer of the file; those that are not taken can be named in `sheets`."""

    name: str | None
    hidden: bool
    rows: int
    taken: bool


class UploadSheetOut(Out):
    """A sheet as it was read."""

    name: str | None
    kind: Literal["rows", "features"]
    encoding: str | None
    delimiter: str | None
    crs: str | None
    heading_row: int | None
    mapping: Annotated[dict[str, str], Field(description="column → heading")]
    mapping_source: Literal["found", "given", "remembered"]
    unknown_headings: list[str]
    samples: Annotated[
        dict[str, list[str]],
        Field(description="heading → up to three values; of many long ones, those of the first sheets"),
    ]
    title_rows: list[int]
    hidden: bool
    hidden_columns: list[str]
    hidden_rows: int


class RowPlaceOut(Out):
    """A row."""

    sheet: str | None
    row: int


class ProblemKindOut(Out):
    """All problems of one code: how many there are, one as an example, and the first rows."""

    code: str
    count: int
    acceptable: Annotated[int, Field(description="how many have a proposal that `accept` takes")]
    heading: str | None
    message: str
    proposal: str | None
    rows: list[RowPlaceOut]


class GridSampleOut(Out):
    """Where a row would lie."""

    row: int
    lat: float
    lng: float


class GridOut(Out):
    """A grid in which coordinates in metres may be given, the likeliest first."""

    sheet: str | None
    grid: str
    name: str
    northing_in_lng: Annotated[bool, Field(description="the column for longitude holds northings")]
    share: Annotated[float, Field(description="of the rows in metres, those in the grid's country")]
    in_province: Annotated[
        float | None, Field(description="of those whose address names a province, those in it")
    ]
    apart_m: Annotated[float, Field(description="from where the best guess puts the first sample")]
    sample: list[GridSampleOut]


class UploadReportOut(Out):
    """What a check found."""

    file_sheets: list[FileSheetOut] = Field(default_factory=list)
    sheets: list[UploadSheetOut] = Field(default_factory=list)
    problems: list[ProblemKindOut] = Field(default_factory=list)
    notes: Annotated[dict[str, int], Field(description="changes of outlines that change no area")] = (
        Field(default_factory=dict)
    )
    mended: Annotated[dict[str, int], Field(description="code → rows whose proposal was taken")] = Field(
        default_factory=dict
    )
    grids: list[GridOut] = Field(default_factory=list)


class UploadErrorOut(Out):
    """Why the last step failed."""

    code: str
    message: str


class UploadBriefOut(Out):
    """An upload in a list: where it stands."""

    id: str
    kind: str
    file_name: str
    file_bytes: int
    state: UploadState
    stage: Annotated[
        str | None,
        Field(description="reading, rows, comparing, keeping; preparing, saving; undoing"),
    ]
    progress: Annotated[float, Field(description="share of the present step, 0 to 1")]
    counts: Annotated[dict[RowState, int], Field(description="lines by state")]
    error: UploadErrorOut | None
    created_at: str
    updated_at: str
    applied_at: str | None
    undone_at: str | None


class UploadOut(UploadBriefOut):
    """An upload: where it stands, and what it would do or did."""

    options: OptionsIn
    report: UploadReportOut


class UploadsOut(Out):
    """A page of uploads; each by itself says more."""

    items: list[UploadBriefOut]
    total: int
    next_cursor: str | None


class RowProposalOut(Out):
    """A way to mend a row: column → value."""

    message: str
    values: dict[str, str | float]


class RowProblemOut(Out):
    """One fault of a row."""

    heading: str | None
    cell: str | None
    value: str | None
    code: str
    message: str
    proposal: RowProposalOut | None


class RowShapeOut(Out):
    """A shape: a circle, or GeoJSON."""

    circle: CircleOut | None = None
    geometry: dict[str, Any] | None = None


class RowOut(Out):
    """A row of the file, or a fence that it does not name.

    `after` is what would be there; `before` holds, of a changed fence, the fields that change.
    """

    status: RowState
    sheet: str | None
    row: int | None
    name: str | None
    external_id: str | None
    fence_id: str | None
    after: dict[str, Any] | None
    shape: RowShapeOut | None
    before: dict[str, Any] | None
    problems: list[RowProblemOut]
    mended: list[str]


class RowsOut(Out):
    """A page of lines."""

    items: list[RowOut]
    total: Annotated[int, Field(description="lines of this status, whatever their problems")]
    next_cursor: str | None


class NamedFenceOut(Out):
    """A fence by name."""

    id: str
    name: str


class UsedOut(NamedFenceOut):
    """A fence that a living campaign names."""

    campaign_id: str
    campaign: str


class GroupUseOut(Out):
    """A group that loses fences, and a living campaign that names it."""

    group: str
    campaign_id: str
    campaign: str


class UndoOut(Out):
    """What undoing would do; `used` and, without `leave_edited`, `edited` stand in its way.

    Of each list the first 200 are named; `edited_total` and `used_total` say how many there are.
    """

    delete: int
    restore: int
    revive: int
    edited: list[NamedFenceOut]
    edited_total: int
    used: list[UsedOut]
    used_total: int
    groups: list[GroupUseOut]
