"""What the lines of a file mean: calls, or reasons; whatever is wrong with one line, the others are read."""

from __future__ import annotations

import codecs
import gzip
import io
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.calls.call import NewCall
from service.calls.file.layout import CDR_CSV, layout_by_header, layout_by_place, needs_header, read_mapping
from service.calls.file.lines import LONGEST_LINE, check_encoding, records
from service.calls.file.price import Rate
from service.calls.file.rows import Form, read_calls
from service.calls.file.source import opened
from service.errors import Invalid
from tests.support.cdr import cdr_line

SAIGON = ZoneInfo("Asia/Ho_Chi_Minh")


def read(content, mapping=(), **options):
    """The calls and reasons of a file, by line number."""
    mapping = read_mapping(mapping)
    given = {"timezone": SAIGON, "header": needs_header(mapping), "rate": Rate(Decimal(60), 1), **options}
    if "amount" in mapping:
        given["rate"] = None
    content = content if isinstance(content, bytes) else content.encode()
    found = read_calls(io.BytesIO(content), Form(mapping=mapping, **given)).lines
    return {line.number: line.call if isinstance(line.call, NewCall) else line.call.sentence for line in found}


class TestMasterCsv:
    def test_a_line_is_a_call_charged_by_billsec(self):
        (call,) = read(cdr_line(uniqueid="1714979289.7")).values()
        assert call == NewCall(
            "1714979289.7", "0281", "0912345678",
            datetime(2024, 5, 6, 0, 8, 9, tzinfo=UTC), datetime(2024, 5, 6, 0, 9, tzinfo=UTC),
            38, Decimal(38), disposition="ANSWERED",
        )  # fmt: skip

    def test_with_usegmtime_the_zone_is_utc(self):
        (call,) = read(cdr_line(), timezone=ZoneInfo("UTC")).values()
        assert call.start_time == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)

    def test_an_unanswered_call_costs_nothing(self):
        (call,) = read(cdr_line(billsec=0, disposition="NO ANSWER")).values()
        assert (call.duration, call.amount, call.disposition) == (0, 0, "NO ANSWER")

    def test_the_account_code_is_the_customer_only_if_it_is_mapped(self):
        line = cdr_line(accountcode="0906237580")
        assert read(line)[1].customer is None
        assert read(line, ["customer=accountcode"])[1].customer == "0906237580"
        assert read(line, ["customer=1"], customer_by="username")[1].customer == "username:0906237580"
        assert read(cdr_line(), ["customer=accountcode"], customer_by="username")[1].customer is None

    def test_without_a_uniqueid_one_is_made_of_the_content(self):
        line = cdr_line(uniqueid=None)
        first, again, other = read(
            line + line.replace('"DOCUMENTATION"', "DOCUMENTATION") + cdr_line(uniqueid=None)
        ).values()
        assert first.uniqueid == again.uniqueid
        assert first.uniqueid.startswith("csv-")
        assert other.uniqueid != first.uniqueid

    def test_the_columns_of_newcdrcolumns_are_no_uniqueid(self):
        more = ("peer", "1714979289.1", "7")
        assert read(cdr_line(uniqueid="1.5", extra=more))[1].uniqueid == "1.5"
        assert read(cdr_line(uniqueid=None, extra=more))[1].uniqueid.startswith("csv-")
        assert read(cdr_line(uniqueid="1.5", userfield=None))[1].uniqueid == "1.5"

    def test_the_price_may_stand_in_the_userfield(self):
        assert read(cdr_line(userfield="12.50"), ["amount=userfield"])[1].amount == Decimal("12.5")
        assert "comma" in read(cdr_line(userfield="12,50"), ["amount=userfield"])[1]

    def test_a_last_line_that_is_cut_off_is_refused(self):
        whole = cdr_line(uniqueid=None)
        found = read(whole + cdr_line(uniqueid="1.9").rstrip("\n"))
        assert isinstance(found[1], NewCall)
        assert "cut off" in found[2]

    @given(st.integers(1, 400))
    def test_wherever_the_file_ends_no_half_line_becomes_a_call(self, length):
        whole = cdr_line(uniqueid="1714979289.7").encode()
        found = read(whole + whole[: min(length, len(whole) - 1)])
        assert not isinstance(found.get(2), NewCall)

    def test_clocks_that_are_set_back_between_start_and_end(self):
        line = cdr_line(start="2024-11-03 01:59:50", end="2024-11-03 01:00:20", billsec=25)
        (call,) = read(line, timezone=ZoneInfo("America/New_York")).values()
        assert (call.end_time - call.start_time).seconds == 30

    @given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=80))
    def test_any_text_comes_through_the_quoting(self, text):
        assert read(cdr_line(src=text, clid=text))[1].source == text


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("bad", "reason"),
        [
            (b'"a","b"\n', "has 2 columns and needs 16"),
            (b"one\n", "has 1 column and needs 16"),
            (cdr_line(start="2024-02-30 00:00:00").encode(), "start_time: there is no such date"),
            (cdr_line(start="06/05/2024 07:08").encode(), "start_time: not a date and time"),
            (cdr_line(start="").encode(), "start_time: not a date and time"),
            (cdr_line(start="1999-12-31 00:00:00").encode(), "start_time: must be from 2000"),
            (cdr_line(start="2099-12-31 00:00:00").encode(), "start_time: must be from 2000"),
            (cdr_line(end="2024-05-06 06:00:00").encode(), "end_time: must not be before"),
            (cdr_line(billsec=-1).encode(), "duration: must be a whole number"),
            (cdr_line(billsec=2_678_401).encode(), "duration: must be a whole number"),
            (cdr_line(src="0\x00281").encode(), "holds a NUL"),
            (cdr_line(src="0\x01281").encode(), "source: must not hold control characters"),
            (cdr_line(src="1" * 101).encode(), "source: must have at most 100"),
            (cdr_line(uniqueid="1" * 151).encode(), "uniqueid: must have at most 150"),
            (cdr_line(src="Đàm", clid="").encode("cp1258"), "is not utf-8 (byte"),
            (cdr_line(extra=("1", "2", "3", "4")).encode(), "has 22 columns, more than the 21"),
            (b'"","0281","09\n', "cannot be read as CSV"),
            (b'"",02"81"x,"09"x\n', "cannot be read as CSV"),
            (b'"' + b"x" * LONGEST_LINE + b'"\n', f"is longer than {LONGEST_LINE} bytes"),
            (b'"' + b"x" * 3 * LONGEST_LINE + b'"\n', f"is longer than {LONGEST_LINE} bytes"),
        ],
    )
    def test_a_broken_line_is_told_by_its_number_and_the_rest_is_taken(self, bad, reason):
        found = read(cdr_line().encode() + b"\n" + bad + cdr_line().encode() * 2)
        assert reason in found[3]
        assert [type(found[number]) for number in (1, 4, 5)] == [NewCall] * 3
        assert len(found) == 4

    def test_a_quote_that_is_never_closed_costs_its_own_line_only(self):
        good = "".join(cdr_line() for _ in range(100))
        found = read(good + '"","0281\n' + good)
        assert [number for number, call in found.items() if isinstance(call, str)] == [101]
        assert len(found) == 201

    def test_a_text_in_quotes_may_go_on_in_the_next_line(self):
        good, bad = '1,2,2024-05-06 07:08:09,5,"one\ntwo"\n', '1,2,x,5,"one\ntwo"\n'
        found = read(f"a,b,c,d,e\n{good}{bad}{good}", ["source=a", "destination=b", "start_time=c", "duration=d"])
        assert isinstance(found[2], NewCall)
        assert found[4].endswith("(with all up to line 5)")
        assert isinstance(found[6], NewCall)

    @given(st.binary(max_size=300))
    def test_whatever_a_file_holds_every_line_is_a_call_or_a_reason(self, content):
        found = read(cdr_line().encode() + content + b"\n" * 2)
        assert isinstance(found[1], NewCall)
        assert all(isinstance(reason, str) for number, reason in found.items() if number > 1)

    def test_an_empty_file_has_no_calls(self):
        assert read("") == {}
        assert read("\n\n \n") == {}
        assert read("", header=True) == {}


class TestOtherLayouts:
    def test_columns_by_the_names_of_a_header(self):
        content = "id;Caller;Callee;When;Secs;Price\n7;0281;113;2024-05-06T07:08:09Z;38;1.25\n"
        mapping = [
            "uniqueid=ID",
            "source=caller",
            "destination=Callee",
            "start_time=When",
            "duration=Secs",
            "amount=Price",
        ]
        (call,) = read(content, mapping, delimiter=";").values()
        assert call == NewCall(
            "7", "0281", "113",
            datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2024, 5, 6, 7, 8, 47, tzinfo=UTC), 38, Decimal("1.25"),
        )  # fmt: skip

    def test_a_header_with_usual_names_needs_no_mapping(self):
        content = (
            "calldate,src,dst,duration,billsec,disposition,uniqueid\n2024-05-06 07:08:09,0281,113,51,38,ANSWERED,1.7\n"
        )
        (call,) = read(content, header=True).values()
        assert (call.uniqueid, call.duration, call.disposition) == ("1.7", 38, "ANSWERED")

    def test_columns_by_number_and_nothing_else(self):
        content = "0281\t113\t2024-05-06 07:08:09\t38"
        mapping = ["source=1", "destination=2", "start_time=3", "duration=4"]
        (call,) = read(content, mapping, delimiter="\t").values()
        assert (call.source, call.duration, call.disposition) == ("0281", 38, None)
        assert call.uniqueid.startswith("csv-")

    def test_a_leg_that_the_file_gives(self):
        content = "0281,113,2024-05-06 07:08:09,38,{}\n"
        mapping = read_mapping(["source=1", "destination=2", "start_time=3", "duration=4", "leg=5"])
        form = Form(SAIGON, mapping, rate=Rate(Decimal(1)))
        found = read_calls(io.BytesIO((content.format(3) + content.format("")).encode()), form)
        assert found.legs_given
        three, none = found.lines
        assert three.call.leg == 3
        assert none.call.sentence.startswith("leg: must be a whole number")

    def test_more_values_than_the_header_has_names_are_refused(self):
        content = "src,dst,start,billsec,price\n0281,113,2024-05-06 07:08:09,38,12,5\n"
        assert "has 6 columns, more than the 5" in read(content, ["amount=price"])[2]

    @pytest.mark.parametrize("encoding", ["utf-8", "cp1258", "utf-16"])
    def test_vietnamese_text_in_its_encoding(self, encoding):
        if encoding == "utf-16":
            with pytest.raises(Invalid, match="convert the file"):
                check_encoding(encoding)
            return
        check_encoding(encoding)
        (call,) = read(cdr_line(src="Đàm", clid="").encode(encoding), encoding=encoding).values()
        assert call.source == "Đàm"

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self):
        content = codecs.BOM_UTF8 + b"src,dst,start,billsec\n0281,113,2024-05-06 07:08:09,38\n"
        for encoding in ("utf-8", "utf-8-sig"):
            check_encoding(encoding)
            assert isinstance(read(content, header=True, encoding=encoding)[2], NewCall)

    def test_line_ends_of_windows(self):
        assert isinstance(read(cdr_line().replace("\n", "\r\n"))[1], NewCall)

    @pytest.mark.parametrize("name", ["nothing", "base64", "rot13", "utf-16", "utf-32", "cp037", "a\0b"])
    def test_an_encoding_that_cannot_be_read_line_by_line_is_refused(self, name):
        with pytest.raises(Invalid):
            check_encoding(name)


class TestMappings:
    @pytest.mark.parametrize(
        ("pairs", "sentence"),
        [
            (["source"], "must be NAME=COLUMN"),
            (["src=1"], "must be NAME=COLUMN, with a NAME of uniqueid, leg, source"),
            (["source=1", "source=2"], "is given twice"),
        ],
    )
    def test_a_mapping_that_says_nothing_is_refused(self, pairs, sentence):
        with pytest.raises(Invalid, match=sentence):
            read_mapping(pairs)

    @pytest.mark.parametrize(
        ("mapping", "sentence"),
        [
            ({"source": "0"}, "columns count from 1"),
            ({"source": "1001"}, "columns count from 1"),
            ({"source": "9" * 5000}, "columns count from 1"),
            ({"source": "٣"}, "columns count from 1"),
            ({"source": "caller"}, "no such column in cdr_csv"),
            ({"source": ""}, "no column for source"),
            ({"source": "1", "destination": "2", "start_time": "3"}, "no column for duration or end_time"),
        ],
    )
    def test_a_column_that_there_is_not_is_refused(self, mapping, sentence):
        with pytest.raises(Invalid, match=sentence):
            layout_by_place(mapping)

    @pytest.mark.parametrize(
        ("mapping", "sentence"),
        [
            ({"amount": "cost"}, "no such column; the columns are src, dst, start, billsec, Note, note"),
            ({"amount": "note"}, "has 2 columns 'note'"),
            ({"amount": "7"}, "no such column"),
            ({"source": ""}, "no column for source: .*the columns are"),
        ],
    )
    def test_a_name_that_the_header_has_not_is_refused(self, mapping, sentence):
        with pytest.raises(Invalid, match=sentence):
            layout_by_header(mapping, ["src", "dst", "start", "billsec", "Note", "note"])

    def test_a_header_is_needed_only_for_names_that_are_not_asterisks(self):
        assert not needs_header({"source": "2", "customer": "accountcode", "leg": ""})
        assert needs_header({"amount": "price"})

    def test_what_the_file_has_not_can_be_said(self):
        layout = layout_by_place({"uniqueid": "", "end_time": ""})
        assert not {"uniqueid", "end_time"} & layout.columns.keys()

    def test_a_mapped_column_has_to_be_there(self):
        assert layout_by_place({"amount": "userfield"}).fewest == len(CDR_CSV)
        assert layout_by_place({"amount": "30"}).most == 30


class TestSources:
    def test_a_file_packed_by_gzip_is_unpacked_and_measured_packed(self, tmp_path):
        path = tmp_path / "Master.csv"
        path.write_bytes(gzip.compress(cdr_line().encode() * 1000))
        with opened(str(path), io.BytesIO()) as source:
            assert len(list(records(source.stream))) == 1000
            assert source.position() == source.size == path.stat().st_size

    def test_a_packed_file_that_ends_too_early_is_a_failure_not_an_end(self, tmp_path):
        path = tmp_path / "Master.csv.gz"
        path.write_bytes(gzip.compress(cdr_line().encode() * 1000)[:-50])
        with opened(str(path), io.BytesIO()) as source, pytest.raises(Invalid, match="cannot be read beyond line"):
            list(records(source.stream))

    @pytest.mark.parametrize("name", ["nothing.csv", ".", "a\0b"])
    def test_a_file_that_cannot_be_opened_is_a_sentence(self, tmp_path, name):
        with (
            pytest.raises(Invalid, match=r": (No such file|Is a directory|embedded null)"),
            opened(f"{tmp_path}/{name}", io.BytesIO()),
        ):
            pass

    def test_standard_input_is_read_as_it_is(self):
        with opened("-", io.BytesIO(b"a,b\n")) as source:
            assert [record.values for record in records(source.stream)] == [["a", "b"]]
            assert (source.size, source.position()) == (None, 0)
