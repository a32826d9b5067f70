"""Writes a customer list as CSV: invented people with Chinese and English names, the same for the same
seed. Identity numbers carry a right check digit but a region (990000) that no one was ever given;
mobile numbers start with 100, a prefix no operator has; mail goes to example domains."""
import argparse
import random

SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = ["伟", "芳", "娜", "秀英", "敏", "静", "丽", "强", "磊", "军", "洋", "勇", "艳", "杰", "娟", "涛", "明", "超", "霞", "平",
         "子涵", "梓萱", "浩然", "欣怡", "宇轩", "诗涵", "俊杰", "思远", "雨桐", "嘉怡"]
CITIES = ["北京", "上海", "广州", "深圳", "杭州", "成都", "武汉", "西安", "南京", "苏州"]
COMPANIES = ["云帆贸易", "恒信科技", "远景制造", "蓝海物流", "鼎盛服饰", "安和医疗", "东方食品", "星河传媒"]
FIRST = ["Emma", "Liam", "Olivia", "Noah", "Ava", "Lucas", "Mia", "Ethan", "Chloe", "Daniel", "Grace", "Oscar"]
LAST = ["Smith", "Jones", "Taylor", "Brown", "Wilson", "Evans", "Walker", "Wright", "Hughes", "Green", "Hall"]
TOWNS = ["London", "Leeds", "Bristol", "Boston", "Austin", "Denver", "Sydney", "Toronto"]
FIRMS = ["Northwind Ltd", "Harbor & Co", "Brightline Inc", "Oakfield Group", "Summit Foods", "Clearwater LLC"]
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643
HEADER = "customer,name,gender,mobile,email,identity,city,company,spent"


def identity(r):
    digits = f"990000{r.randint(1955, 2004)}{r.randint(1, 12):02}{r.randint(1, 28):02}{r.randint(0, 999):03}"
    return digits + "10X98765432"[sum(int(d) * w for d, w in zip(digits, WEIGHTS)) % 11]


def row(number, r):
    if r.random() < 0.6:
        name = r.choice(SURNAMES) + r.choice(GIVEN)
        city, company, mail, tail = r.choice(CITIES), r.choice(COMPANIES), f"u{number}@mail.example.cn", identity(r)
    else:
        first, last = r.choice(FIRST), r.choice(LAST)
        name, mail = f"{first} {last}", f"{first}.{last}{number}@mail.example.com".lower()
        city, company, tail = r.choice(TOWNS), r.choice(FIRMS), ""
    mobile = f"100{r.randint(0, 99_999_999):08}"
    return f"{number},{name},{r.choice('MF')},{mobile},{mail},{tail},{city},{company},{r.randint(10, 9_999_999) / 100:.2f}"


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--bytes", type=int, default=20_000_000)
    args.add_argument("--seed", type=int, default=7)
    args.add_argument("out")
    args = args.parse_args()
    r, written, number = random.Random(args.seed), 0, 100_000
    with open(args.out, "wb") as f:
        written += f.write((HEADER + "\n").encode())
        while written < args.bytes:
            written += f.write((row(number, r) + "\n").encode())
            number += 1
    print(number - 100_000)


if __name__ == "__main__":
    main()
