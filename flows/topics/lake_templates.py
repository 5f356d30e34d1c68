"""The question templates that a lake has at a version: those that are shipped, and those that were derived for it."""

from collections.abc import Mapping

from flows.topics.catalogue import Template
from storage.lake import Lake
from storage.records import TemplateRow
from storage.versions import Version


def read_lake_templates(lake: Lake, version: Version) -> Mapping[str, Template]:
    """The lake's own templates by id, in the order in which they came; shipped ones are not among them."""
    found: dict[str, Template] = {}
    for row in lake.rows(TemplateRow, version):
        template = Template(template_id=row.template_id, type=row.type, weight=row.weight, text=row.text)
        found.setdefault(row.template_id, template)
    return found
