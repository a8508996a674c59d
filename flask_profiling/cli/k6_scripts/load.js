// How does it stand a crowd? Visitors come, stay and go. PATHS are separated by spaces.
import http from 'k6/http';
import { check } from 'k6';

const base = __ENV.BASE_URL;
const paths = (__ENV.PATHS || '/').split(' ');
const visitors = Number(__ENV.VUS || 10);

export const options = {
  stages: [
    { duration: __ENV.RAMP || '5s', target: visitors },
    { duration: __ENV.DURATION || '20s', target: visitors },
    { duration: __ENV.RAMP || '5s', target: 0 },
  ],
  thresholds: {
    http_req_failed: ['rate<0.01'],
    http_req_duration: [`p(95)<${__ENV.P95 || 2000}`],
  },
};

export default function () {
  for (const path of paths) {
    const answer = http.get(base + path, { tags: { name: path } });
    check(answer, { 'status is below 400': (found) => found.status > 0 && found.status < 400 });
  }
}
