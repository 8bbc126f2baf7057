"""Reads a live page of lanes in Chromium, as a person would: browser.py PAGE TRACE. The test `live_in_a_browser` starts this."""

import pathlib
import sys

from selenium.webdriver.common.by import By

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))
from chromium import check_console, chromium, until


def names(driver):
    return [a.accessible_name for a in driver.find_elements(By.CSS_SELECTOR, "svg.lanes a")]


def read(driver, page, trace):
    driver.get(pathlib.Path(page).as_uri())
    drawn = until(driver, names, "bars and marks")
    assert all(" by " in name for name in drawn), f"each says what, when and by whom: {drawn}"

    def drawing(driver):
        svg = driver.find_element(By.CSS_SELECTOR, "svg.lanes")
        return svg.aria_role, svg.accessible_name

    role, name = until(driver, drawing, "a drawing")
    assert role == "group" and name == "A title", f"{role}: {name}"

    # What hovering shows is the line itself.
    def line(driver):
        return driver.find_element(By.CSS_SELECTOR, "svg.lanes a.mark title").get_attribute("textContent")

    shown = until(driver, line, "a mark")
    assert '"ev":"start"' in shown, f"the line of the trace: {shown}"

    # The trace grows, and the page shows it by itself.
    with open(trace, "a") as file:
        file.write('{"t":3000,"fn":"replication::replicationUnsetMaster","at":"src/replication.rs:9","ev":"role","to":"master"}\n')
    until(driver, lambda d: any("becomes a master" in name for name in names(d)), "the new mark")

    # A click leads to the function.
    def follow(driver):
        mark = [a for a in driver.find_elements(By.CSS_SELECTOR, "svg.lanes a.mark") if "replicationUnsetMaster" in a.accessible_name]
        mark[0].click()
        return driver.current_url.endswith("/replication.replicationUnsetMaster.html")

    until(driver, follow, "the page of the function")
    assert driver.find_element(By.TAG_NAME, "h1").text == "replicationUnsetMaster"
    check_console(driver)


with chromium() as driver:
    read(driver, *sys.argv[1:3])
