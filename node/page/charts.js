// The charts. Prices are exact text in the API; only here do they become numbers.
import {
  CandlestickSeries, ColorType, HistogramSeries, LineSeries, createChart,
} from "/vendor/lightweight-charts.js";

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const pale = (hex) => `${hex}55`;

/** Digits that a price needs: enough to see its tick, whatever its size. */
function digits(price) {
  const text = String(price).replace(/0+$/, "");
  const point = text.indexOf(".");
  return Math.min(8, Math.max(2, point < 0 ? 0 : text.length - point - 1));
}

function options(compact) {
  return {
    autoSize: true,
    layout: {
      background: { type: ColorType.Solid, color: "transparent" },
      textColor: color("quiet"), fontSize: compact ? 10 : 11, attributionLogo: false,
    },
    grid: { vertLines: { visible: !compact, color: color("line") }, horzLines: { color: color("line") } },
    rightPriceScale: { borderVisible: false },
    timeScale: { borderVisible: false, timeVisible: true, secondsVisible: true },
    handleScroll: !compact, handleScale: !compact,
  };
}

/** The chosen symbol's candles, with their volume below. */
export function candleChart(element, onHover) {
  const chart = createChart(element, options(false));
  const candles = chart.addSeries(CandlestickSeries, { borderVisible: true });
  const volume = chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
  chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
  candles.priceScale().applyOptions({ scaleMargins: { top: 0.06, bottom: 0.22 } });
  let rows = new Map();
  let last = null;
  chart.subscribeCrosshairMove((at) => onHover((at.time && rows.get(at.time)) || (last === null ? null : rows.get(last))));

  const paint = (row) => {
    const [openTime, open, high, low, close, base] = row;
    const complete = row[14];
    const tone = Number(close) >= Number(open) ? color("up") : color("down");
    const body = complete ? tone : pale(tone);
    const time = openTime / 1000;
    rows.set(time, row);
    if (last === null || time > last) last = time;
    element.dataset.count = rows.size;
    return [
      { time, open: +open, high: +high, low: +low, close: +close, color: body, borderColor: tone, wickColor: body },
      { time, value: +base, color: pale(tone) },
    ];
  };
  const restyle = () => chart.applyOptions(options(false));
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", restyle);
  return {
    show(list) {
      rows = new Map();
      last = null;
      element.dataset.count = 0;
      const painted = list.map(paint);
      candles.setData(painted.map(([candle]) => candle));
      volume.setData(painted.map(([, bar]) => bar));
      if (list.length) {
        const precision = digits(list[list.length - 1][4]);
        candles.applyOptions({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
        chart.timeScale().setVisibleLogicalRange({ from: Math.max(-0.5, list.length - 90), to: list.length + 4 });
        onHover(rows.get(last));
      }
    },
    update(row) {
      const time = row[0] / 1000;
      if (last !== null && time < last) return;
      const [candle, bar] = paint(row);
      candles.update(candle);
      volume.update(bar);
      onHover(rows.get(last));
    },
  };
}

function small(parent, name, prepare) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const title = document.createElement("strong");
  const value = document.createElement("span");
  const plot = document.createElement("div");
  title.textContent = name;
  value.className = "quiet";
  plot.className = "plot";
  caption.append(title, value);
  figure.append(caption, plot);
  parent.append(figure);
  const chart = createChart(plot, options(true));
  const api = prepare(chart, value, plot);
  const gone = new AbortController();
  const restyle = () => chart.applyOptions(options(true));
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", restyle, { signal: gone.signal });
  return { ...api, remove() { gone.abort(); chart.remove(); figure.remove(); } };
}

/** Best bid and ask of one symbol over time. */
export function bookChart(parent, name) {
  return small(parent, name, (chart, value, plot) => {
    const style = { lineWidth: 1.5, priceLineVisible: false, lastValueVisible: false };
    const bid = chart.addSeries(LineSeries, { ...style, color: color("up") });
    const ask = chart.addSeries(LineSeries, { ...style, color: color("down") });
    let last = 0;
    let count = 0;
    const format = (price) => {
      const precision = digits(price);
      const priceFormat = { type: "price", precision, minMove: 10 ** -precision };
      bid.applyOptions({ priceFormat });
      ask.applyOptions({ priceFormat });
    };
    const tell = (one, other) => { value.textContent = `${trim(one)} / ${trim(other)}`; };
    return {
      show(rows) {
        bid.setData(rows.map(([time, price]) => ({ time: time / 1000, value: +price })));
        ask.setData(rows.map(([time, , price]) => ({ time: time / 1000, value: +price })));
        count = rows.length;
        plot.dataset.count = count;
        if (!count) return;
        const [time, one, other] = rows[count - 1];
        last = time / 1000;
        format(one);
        tell(one, other);
        chart.timeScale().fitContent();
      },
      update([time, one, other]) {
        const second = Math.floor(time / 1000);
        if (second < last) return;
        last = second;
        bid.update({ time: second, value: +one });
        ask.update({ time: second, value: +other });
        plot.dataset.count = ++count;
        tell(one, other);
      },
    };
  });
}

/** The number of trades of one symbol over time, as bars. */
export function countChart(parent, name) {
  return small(parent, name, (chart, value, plot) => {
    const bars = chart.addSeries(HistogramSeries, {
      color: color("mark"), priceLineVisible: false, lastValueVisible: false,
      priceFormat: { type: "custom", formatter: (n) => Math.round(n).toLocaleString("en"), minMove: 1 },
    });
    return {
      show(rows) {
        bars.setData(rows.map(([time, count]) => ({ time: time / 1000, value: count })));
        plot.dataset.count = rows.length;
        if (!rows.length) return;
        value.textContent = rows[rows.length - 1][1].toLocaleString("en");
        chart.timeScale().fitContent();
      },
    };
  });
}

/** A decimal without the zeros at its end, but with two places. */
export function trim(text) {
  if (text === null || text === undefined) return "–";
  const [whole, fraction = ""] = String(text).split(".");
  return `${Number(whole).toLocaleString("en")}.${fraction.replace(/0+$/, "").padEnd(2, "0")}`;
}
