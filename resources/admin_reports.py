"""Figures for admins: the dashboard, its charts, and the report of a period."""

from __future__ import annotations

from flask import Response

from models import User
from resources.base import ADMINS, Resource, endpoint
from schemas import reporting as shapes
from services import reporting, reports
from services.revenue import Period
from utils.tables import csv_response


class Dashboard(Resource):
    @endpoint(access=ADMINS, returns=shapes.Dashboard)
    def get(self, _actor: User) -> dict[str, reporting.Summary]:
        """How many users and events there are, and what waits for a decision."""
        return {"summary": reporting.summarise()}


class AnalyticsSummary(Resource):
    @endpoint(access=ADMINS, returns=shapes.AnalyticsSummary)
    def get(self, _actor: User) -> reporting.Summary:
        """What was sold in all, and what it brought."""
        return reporting.summarise()


class SalesTrend(Resource):
    @endpoint(access=ADMINS, query=shapes.TrendQuery, returns=list[shapes.MonthSales])
    def get(self, _actor: User, query: shapes.TrendQuery) -> list[reporting.MonthSales]:
        """Tickets sold in each month of a year, all twelve of them."""
        return reporting.read_sales_by_month(query.year)


class RevenueByType(Resource):
    @endpoint(access=ADMINS, query=shapes.TopQuery, returns=list[shapes.TypeRevenue])
    def get(self, _actor: User, query: shapes.TopQuery) -> list[reporting.TypeRevenue]:
        """What ticket types of a name brought, most first."""
        return reporting.read_revenue_by_type(query.limit)


class TopEvents(Resource):
    @endpoint(access=ADMINS, query=shapes.TopQuery, returns=list[shapes.EventRevenue])
    def get(self, _actor: User, query: shapes.TopQuery) -> list[reporting.EventRevenue]:
        """The events that brought most."""
        return reporting.read_top_events(query.limit)


class TopCategories(Resource):
    @endpoint(access=ADMINS, query=shapes.TopQuery, returns=list[shapes.CategoryCount])
    def get(self, _actor: User, query: shapes.TopQuery) -> list[reporting.CategoryCount]:
        """The categories with most approved events."""
        return reporting.read_top_categories(query.limit)


class Report(Resource):
    @endpoint(access=ADMINS, query=shapes.ReportQuery, returns=shapes.ReportOut, produces=("text/csv",))
    def get(self, _actor: User, query: shapes.ReportQuery) -> reports.Report | Response:
        """What each event sold, gave back and kept in a period; `format=csv` gives it as a file, totals last."""
        period, title = Period(query.start_date, query.end_date), query.event_name
        if query.format == "csv":
            lines = reports.stream_report(period, title=title)
            return csv_response("report", shapes.ReportLine.columns(), (shapes.ReportLine.cells(one) for one in lines))
        return reports.make_report(period, title=title, page=query.page, per_page=query.per_page)
