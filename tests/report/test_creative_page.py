"""The page of a system: its values are there, and what users name stays text."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from budwood.report.creative_page import Curves, Section, Sheet, SystemView, Table, render_system
from budwood.report.data import Command
from budwood.report.picture_sheet import SheetRow, error_map, picture_sheet

HOSTILE = ("<script>alert(1)</script>", "\u202egpj.exe", 'x" onload="alert(1)', "{{ 7 * 7 }}", "a\nb\x00")


def view(text: str) -> SystemView:
    picture = np.zeros((8, 8, 3), np.uint8)
    return SystemView(
        title=text,
        system="cascade",
        figure=("89", "%"),
        lead=text,
        quiet=(text,),
        facts=(("3", text),),
        sections=(
            Section(
                title="One",
                sentences=(text,),
                table=Table(heads=("class", "F1"), rows=((text, "1.0"),), note=text),
                curves=Curves(lines=(("real", (0.1, 0.2)), ("painted", (0.3, 0.1))), ylabel="score"),
                sheets=(Sheet(image=picture_sheet([SheetRow(name=text, pictures=[picture])]), caption=text),),
            ),
        ),
        warnings=(text,),
        next_commands=(Command(purpose=text, line=text),),
        command=text,
        when="",
        version="1",
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_what_users_name_stays_text(text: str) -> None:
    page = render_system(view(text))
    assert "<script" not in page
    assert 'x" onload' not in page
    assert "\u202e" not in page
    assert "\x00" not in page
    assert ">49<" not in page


def test_equal_views_give_equal_pages_with_the_sheet_and_both_widths_of_the_plot_inside() -> None:
    page = render_system(view("plain"))
    assert page == render_system(view("plain"))
    assert page.count("data:image/png;base64,") == 1
    assert page.count("<svg") == 2
    assert "default-src 'none'" in page


def test_a_sheet_shows_every_picture_enlarged_pixel_by_pixel() -> None:
    red, blue = np.full((4, 4, 3), [200, 0, 0], np.uint8), np.full((4, 4, 3), [0, 0, 200], np.uint8)
    data = picture_sheet([SheetRow(name="x" * 500, pictures=[red, blue]), SheetRow(name="", pictures=[blue])], tile=32)
    with Image.open(io.BytesIO(data)) as sheet:
        pixels = np.asarray(sheet)
    counts = [int((pixels == colour).all(axis=2).sum()) for colour in ([200, 0, 0], [0, 0, 200])]
    assert counts == [32 * 32, 2 * 32 * 32]
    with pytest.raises(ValueError, match="found none"):
        picture_sheet([SheetRow(name="a", pictures=[])])


def test_an_error_map_is_dark_where_nothing_differs_and_light_where_all_does() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert error_map(black, black, full=80).max() < 10
    assert error_map(black, white, full=80).min() > 100
